"""Prodigy in torch, written from its definition, with what prodigyopt keeps in groups and states.

`tools/peers.sh prodigyopt` runs the tests with the package itself in its place.
"""

import math

import torch


class Prodigy(torch.optim.Optimizer):
    def __init__(
        self,
        params,
        lr=1.0,
        betas=(0.9, 0.999),
        beta3=None,
        eps=1e-8,
        weight_decay=0,
        decouple=True,
        use_bias_correction=False,
        safeguard_warmup=False,
        d0=1e-6,
        d_coef=1.0,
        growth_rate=math.inf,
        fsdp_in_use=False,
        slice_p=1,
    ):
        settings = {name: value for name, value in locals().items() if name in SETTINGS}
        super().__init__(params, settings | {"d": d0, "d_max": d0, "d_numerator": 0.0, "k": 0})

    @torch.no_grad()
    def step(self):
        first = self.param_groups[0]
        beta1, beta2 = first["betas"]
        beta3 = math.sqrt(beta2) if first["beta3"] is None else first["beta3"]
        lr = max(group["lr"] for group in self.param_groups)
        d = first["d"]
        rate = d * lr
        if first["use_bias_correction"]:
            count = first["k"] + 1
            rate *= math.sqrt(1 - beta2**count) / (1 - beta1**count)
        taken = [
            (group, param, self.state[param])
            for group in self.param_groups
            for param in group["params"]
            if param.grad is not None
        ]
        numerator, total = beta3 * first["d_numerator"], 0.0
        for group, param, state in taken:
            if not state:
                state.update(begin(param))
            if group["lr"] == 0:
                continue
            grad = param.grad
            if not first["decouple"]:
                grad = grad + group["weight_decay"] * param
            flat, growth = grad.flatten(), d / group["d0"]
            distance = torch.dot(flat, state["p0"] - param.flatten()).item()
            numerator += growth * rate * distance
            state["exp_avg"].mul_(beta1).add_(grad, alpha=d * (1 - beta1))
            state["exp_avg_sq"].mul_(beta2).addcmul_(grad, grad, value=d * d * (1 - beta2))
            state["s"].mul_(beta3).add_(
                flat, alpha=growth * (d if group["safeguard_warmup"] else rate)
            )
            total += state["s"].abs().sum().item()
        if total == 0:
            return
        estimate = first["d_coef"] * numerator / total
        if d == first["d0"]:
            d = max(d, estimate)
        d_max = max(first["d_max"], estimate)
        d = min(d_max, d * first["growth_rate"])
        for group in self.param_groups:
            group.update(d=d, d_max=d_max, d_hat=estimate, d_numerator=numerator, d_denom=total)
            group["k"] += 1
        for group, param, state in taken:
            state["step"] += 1
            if first["decouple"]:
                param.mul_(1 - rate * group["weight_decay"])
            root = state["exp_avg_sq"].sqrt().add_(d * group["eps"])
            param.addcdiv_(state["exp_avg"], root, value=-rate)


SETTINGS = (
    "lr",
    "betas",
    "beta3",
    "eps",
    "weight_decay",
    "decouple",
    "use_bias_correction",
    "safeguard_warmup",
    "d0",
    "d_coef",
    "growth_rate",
    "fsdp_in_use",
    "slice_p",
)


def begin(param):
    start = param.flatten().clone() if param.any() else torch.tensor(0, dtype=param.dtype)
    return {
        "step": 0,
        "s": torch.zeros_like(param).flatten(),
        "p0": start,
        "exp_avg": torch.zeros_like(param),
        "exp_avg_sq": torch.zeros_like(param),
    }
