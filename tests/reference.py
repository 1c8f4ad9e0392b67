"""The update rules in NumPy: what every compiled kernel must equal, bit for bit.

A function here takes what the function of the same name in fastopt takes, but has no defaults.
Coefficients are Python floats (double) until `real(...)` rounds them, once, to the dtype of the
buffers; everything else is NumPy arithmetic in that dtype, left to right as the parentheses say.
"""

import numpy as np

REFERENCE = {}
# For the rules that join arrays: functions that step several arrays together
TOGETHER = {}


def twin(function):
    """Enter a function as the twin of the rule of the same name.

    Overflow, invalid operations and division by zero are results and no errors there.
    """
    REFERENCE[function.__name__] = np.errstate(all="ignore")(function)
    return function


def power(base, exponent):
    """base**exponent in double by repeated squaring, lowest bit of the exponent first."""
    result = 1.0
    while exponent:
        if exponent & 1:
            result *= base
        base *= base
        exponent >>= 1
    return result


def effective_gradient(param, grad, *, lr, weight_decay, decoupled, grad_scale, maximize):
    """The gradient that a rule's formula sees. Decoupled decay is applied to `param` here."""
    real = param.dtype.type
    g = grad
    if grad_scale != 1:
        g = real(grad_scale) * g
    if maximize:
        g = -g
    if weight_decay != 0:
        if decoupled:
            param[...] = real(1.0 - lr * weight_decay) * param
        else:
            g = g + real(weight_decay) * param
    return g


def descend(param, update, g, cautious=False):
    """Subtract the update, or what the mask leaves of it; g is the gradient of the formula."""
    if cautious and param.size:
        real = param.dtype.type
        agrees = ((update > 0) & (g > 0)) | ((update < 0) & (g < 0))
        mean = np.count_nonzero(agrees) / param.size
        update = update * np.where(agrees, real(1.0 / max(mean, 1e-3)), real(0))
    param[...] = param - update


@twin
def sgd(param, grad, *, lr, **common):
    real = param.dtype.type
    g = effective_gradient(param, grad, lr=lr, **common)
    param[...] = param - real(lr) * g


@twin
def momentum(param, grad, momentum_buffer, *, lr, momentum, dampening, cautious=False, **common):
    real = param.dtype.type
    g = effective_gradient(param, grad, lr=lr, **common)
    momentum_buffer[...] = real(momentum) * momentum_buffer + real(1.0 - dampening) * g
    descend(param, real(lr) * momentum_buffer, g, cautious)


@twin
def nag(param, grad, momentum_buffer, *, lr, momentum, cautious=False, **common):
    real = param.dtype.type
    g = effective_gradient(param, grad, lr=lr, **common)
    momentum_buffer[...] = real(momentum) * momentum_buffer + g
    descend(param, real(lr) * (g + real(momentum) * momentum_buffer), g, cautious)


@twin
def adagrad(param, grad, state_sum, *, lr, eps, eps_inside, **common):
    real = param.dtype.type
    g = effective_gradient(param, grad, lr=lr, **common)
    state_sum[...] = state_sum + g * g
    h, e = state_sum, real(eps)
    denominator = np.sqrt(h + e) if eps_inside else np.sqrt(h) + e
    param[...] = param - (real(lr) * g) / denominator


@twin
def adadelta(param, grad, square_avg, acc_delta, *, lr, rho, eps, **common):
    real = param.dtype.type
    g = effective_gradient(param, grad, lr=lr, **common)
    square_avg[...] = real(rho) * square_avg + real(1.0 - rho) * (g * g)
    d = np.sqrt((acc_delta + real(eps)) / (square_avg + real(eps))) * g
    acc_delta[...] = real(rho) * acc_delta + real(1.0 - rho) * (d * d)
    param[...] = param - real(lr) * d


@twin
def adam(
    param,
    grad,
    exp_avg,
    exp_avg_sq,
    max_exp_avg_sq=None,
    *,
    step,
    lr,
    beta1,
    beta2,
    eps,
    eps_hat,
    cautious=False,
    **common,
):
    real = param.dtype.type
    g = effective_gradient(param, grad, lr=lr, **common)
    correction1 = 1.0 - power(beta1, step)
    correction2 = float(np.sqrt(1.0 - power(beta2, step)))
    scale = real(lr * correction2 / correction1)
    offset = real(eps if eps_hat else eps * correction2)
    exp_avg[...] = real(beta1) * exp_avg + real(1.0 - beta1) * g
    exp_avg_sq[...] = real(beta2) * exp_avg_sq + real(1.0 - beta2) * (g * g)
    v = exp_avg_sq
    if max_exp_avg_sq is not None:
        max_exp_avg_sq[...] = np.maximum(max_exp_avg_sq, exp_avg_sq)
        v = max_exp_avg_sq
    descend(param, (scale * exp_avg) / (np.sqrt(v) + offset), g, cautious)


@twin
def adamw(param, grad, *states, **hypers):
    adam(param, grad, *states, decoupled=True, **hypers)


@twin
def rmsprop(
    param,
    grad,
    square_avg,
    grad_avg=None,
    momentum_buffer=None,
    *,
    lr,
    alpha,
    eps,
    eps_inside,
    momentum=0.0,
    **common,
):
    real = param.dtype.type
    g = effective_gradient(param, grad, lr=lr, **common)
    square_avg[...] = real(alpha) * square_avg + real(1.0 - alpha) * (g * g)
    v, e = square_avg, real(eps)
    if grad_avg is not None:
        grad_avg[...] = real(alpha) * grad_avg + real(1.0 - alpha) * g
        v = np.maximum(v - grad_avg * grad_avg, real(0))
    denominator = np.sqrt(v + e) if eps_inside else np.sqrt(v) + e
    if momentum_buffer is None:
        param[...] = param - (real(lr) * g) / denominator
    else:
        momentum_buffer[...] = real(momentum) * momentum_buffer + g / denominator
        param[...] = param - real(lr) * momentum_buffer


@twin
def lion(param, grad, exp_avg, *, lr, beta1, beta2, cautious=False, **common):
    real = param.dtype.type
    g = effective_gradient(param, grad, lr=lr, decoupled=True, **common)
    u = np.sign(real(beta1) * exp_avg + real(1.0 - beta1) * g)
    exp_avg[...] = real(beta2) * exp_avg + real(1.0 - beta2) * g
    descend(param, real(lr) * u, g, cautious)


@twin
def adamax(param, grad, exp_avg, exp_inf, *, step, lr, beta1, beta2, eps, **common):
    real = param.dtype.type
    g = effective_gradient(param, grad, lr=lr, **common)
    exp_avg[...] = real(beta1) * exp_avg + real(1.0 - beta1) * g
    exp_inf[...] = np.maximum(real(beta2) * exp_inf, np.abs(g) + real(eps))
    param[...] = param - (real(lr / (1.0 - power(beta1, step))) * exp_avg) / exp_inf


@twin
def radam(param, grad, exp_avg, exp_avg_sq, *, step, lr, beta1, beta2, eps, **common):
    real = param.dtype.type
    g = effective_gradient(param, grad, lr=lr, **common)
    exp_avg[...] = real(beta1) * exp_avg + real(1.0 - beta1) * g
    exp_avg_sq[...] = real(beta2) * exp_avg_sq + real(1.0 - beta2) * (g * g)
    scale = lr / (1.0 - power(beta1, step))
    kept = power(beta2, step)
    longest = 2.0 / (1.0 - beta2) - 1.0
    length = longest - 2.0 * step * kept / (1.0 - kept)
    if not length > 5.0:
        param[...] = param - real(scale) * exp_avg
        return
    scale *= float(np.sqrt(1.0 - kept))
    scale *= float(
        np.sqrt(
            ((length - 4.0) * (length - 2.0) * longest)
            / ((longest - 4.0) * (longest - 2.0) * length)
        )
    )
    param[...] = param - (real(scale) * exp_avg) / (np.sqrt(exp_avg_sq) + real(eps))


@twin
def rprop(
    param,
    grad,
    prev,
    step_size,
    *,
    lr,
    eta_minus,
    eta_plus,
    step_size_min,
    step_size_max,
    **common,
):
    real = param.dtype.type
    g = effective_gradient(param, grad, lr=lr, **common)
    agreement = g * prev
    factor = np.ones_like(param)
    factor[agreement > 0] = real(eta_plus)
    factor[agreement < 0] = real(eta_minus)
    step_size[step_size == 0] = real(lr)
    step_size[...] = np.maximum(step_size * factor, real(step_size_min))
    step_size[...] = np.minimum(step_size, real(step_size_max))
    prev[...] = np.where(agreement < 0, real(0), g)
    param[...] = param - np.sign(prev) * step_size


def real_power(base, exponent):
    """base**exponent in double: a whole power, times roots of roots for the other bits."""
    exponent = min(exponent, 2.0**53)
    whole = int(exponent)
    result, part = power(base, whole), exponent - whole
    for _ in range(64):
        base = float(np.sqrt(base))
        part *= 2.0
        if part >= 1.0:
            result *= base
            part -= 1.0
    return result


@twin
def nadam(
    param,
    grad,
    exp_avg,
    exp_avg_sq,
    *,
    step,
    mu_product,
    lr,
    beta1,
    beta2,
    eps,
    momentum_decay,
    cautious=False,
    **common,
):
    real = param.dtype.type
    g = effective_gradient(param, grad, lr=lr, **common)
    mu, following = (
        beta1 * (1.0 - 0.5 * real_power(0.96, t * momentum_decay)) for t in (step, step + 1)
    )
    mu_product[...] = mu if step == 1 else float(mu_product) * mu
    product = float(mu_product)
    correction = float(np.sqrt(1.0 - power(beta2, step)))
    of_gradient = lr * correction * (1.0 - mu) / (1.0 - product)
    of_average = lr * correction * following / (1.0 - product * following)
    exp_avg[...] = real(beta1) * exp_avg + real(1.0 - beta1) * g
    exp_avg_sq[...] = real(beta2) * exp_avg_sq + real(1.0 - beta2) * (g * g)
    numerator = real(of_gradient) * g + real(of_average) * exp_avg
    descend(param, numerator / (np.sqrt(exp_avg_sq) + real(eps * correction)), g, cautious)


@twin
def adopt(param, grad, exp_avg, exp_avg_sq, *, step, lr, beta1, beta2, eps, **common):
    real = param.dtype.type
    g = effective_gradient(param, grad, lr=lr, **common)
    if step == 1:  # begins the average, and moves nothing
        beta1, beta2, eps = 1.0, 0.0, 1.0
    limit = real(float(np.sqrt(np.sqrt(float(step - 1)))))
    root = np.sqrt(exp_avg_sq)
    n = g / np.where(root < real(eps), real(eps), root)
    n = np.where(n > limit, limit, np.where(n < -limit, -limit, n))
    exp_avg[...] = real(beta1) * exp_avg + real(1.0 - beta1) * n
    exp_avg_sq[...] = real(beta2) * exp_avg_sq + real(1.0 - beta2) * (g * g)
    param[...] = param - real(lr) * exp_avg


@twin
def ademamix(
    param,
    grad,
    exp_avg,
    exp_avg_slow,
    exp_avg_sq,
    *,
    step,
    lr,
    beta1,
    beta2,
    beta3,
    slow_weight,
    eps,
    **common,
):
    real = param.dtype.type
    g = effective_gradient(param, grad, lr=lr, decoupled=True, **common)
    correction = float(np.sqrt(1.0 - power(beta2, step)))
    fast = real(lr * correction / (1.0 - power(beta1, step)))
    slow = real(lr * correction * slow_weight)
    exp_avg[...] = real(beta1) * exp_avg + real(1.0 - beta1) * g
    exp_avg_slow[...] = real(beta3) * exp_avg_slow + real(1.0 - beta3) * g
    exp_avg_sq[...] = real(beta2) * exp_avg_sq + real(1.0 - beta2) * (g * g)
    numerator = fast * exp_avg + slow * exp_avg_slow
    param[...] = param - numerator / (np.sqrt(exp_avg_sq) + real(eps * correction))


@twin
def asgd(param, grad, param_avg, *, step, eta, lr, lambd, alpha, t0, **common):
    real = param.dtype.type
    g = effective_gradient(param, grad, lr=lr, **common)
    rate = lr if step == 1 else float(eta)
    mu = 1.0 / max(1.0, step - 1.0 - t0)
    update = real(lambd * rate) * param + real(rate) * g
    param[...] = param - update
    if real(mu) == 1:
        param_avg[...] = param
    else:
        param_avg[...] = real(1.0 - mu) * param_avg + real(mu) * param
    eta[...] = lr / real_power(1.0 + lambd * lr * step, alpha)


def sum_of_squares(terms):
    return sum_of(np.square(terms, dtype=np.float64))


def sum_of(terms):
    """In double: each block of 4096 has 32 sums, which are added in halves. Then the sums of the
    blocks are added in pairs."""
    blocks = np.zeros((-(-terms.size // 4096), 128, 32))
    blocks.ravel()[: terms.size] = terms.ravel()
    sums = np.zeros((len(blocks), 32))
    for k in range(min(128, -(-terms.size // 32))):
        sums = sums + blocks[:, k]
    while sums.shape[1] > 1:
        sums = sums[:, : sums.shape[1] // 2] + sums[:, sums.shape[1] // 2 :]
    sums = sums.ravel()
    while sums.size > 1:
        even = sums.size // 2 * 2
        sums = np.append(sums[:even:2] + sums[1:even:2], sums[even:])
    return float(sums.sum())


def norm(terms):
    return float(np.sqrt(sum_of_squares(terms)))


def quotient(a, b):
    """Of doubles, also by 0."""
    return float(np.float64(a) / np.float64(b))


@twin
def stableadamw(
    param, grad, exp_avg, exp_avg_sq, *, step, lr, beta1, beta2, eps, weight_decay, **common
):
    real = param.dtype.type
    g = effective_gradient(param, grad, lr=lr, weight_decay=0.0, decoupled=True, **common)
    share1, share2 = (
        beta * (1.0 - power(beta, step - 1)) / (1.0 - power(beta, step)) for beta in (beta1, beta2)
    )
    exp_avg[...] = real(share1) * exp_avg + real(1.0 - share1) * g
    exp_avg_sq[...] = real(share2) * exp_avg_sq + real(1.0 - share2) * (g * g)
    terms = g / np.maximum(np.sqrt(exp_avg_sq), real(eps))
    rms = float(np.sqrt(quotient(sum_of_squares(terms), param.size)))
    if rms > 1.0:
        lr *= quotient(1.0, rms)
    effective_gradient(param, g, lr=lr, weight_decay=weight_decay, decoupled=True, **NO_CHANGE)
    param[...] = param - (real(lr) * exp_avg) / (np.sqrt(exp_avg_sq) + real(eps))


NO_CHANGE = {"grad_scale": 1.0, "maximize": False}


@twin
def lamb(
    param, grad, exp_avg, exp_avg_sq, *, step, lr, beta1, beta2, eps, adapt, weight_decay, **common
):
    real = param.dtype.type
    g = effective_gradient(param, grad, lr=lr, weight_decay=0.0, decoupled=True, **common)
    correction1 = 1.0 - power(beta1, step)
    correction2 = float(np.sqrt(1.0 - power(beta2, step)))
    exp_avg[...] = real(beta1) * exp_avg + real(1.0 - beta1) * g
    exp_avg_sq[...] = real(beta2) * exp_avg_sq + real(1.0 - beta2) * (g * g)
    denominator = np.sqrt(exp_avg_sq) + real(eps * correction2)
    update = (real(correction2 / correction1) * exp_avg) / denominator
    of_param, of_update = norm(param), norm(update + real(weight_decay) * param)
    if adapt and of_param > 0 and of_update > 0:
        lr *= quotient(of_param, of_update)
    effective_gradient(param, g, lr=lr, weight_decay=weight_decay, decoupled=True, **NO_CHANGE)
    param[...] = param - (real(lr * correction2 / correction1) * exp_avg) / denominator


@twin
def lars(
    param,
    grad,
    momentum_buffer,
    *,
    lr,
    momentum,
    trust_coefficient,
    eps,
    adapt,
    weight_decay,
    **common,
):
    real = param.dtype.type
    g = effective_gradient(param, grad, lr=lr, weight_decay=0.0, decoupled=False, **common)
    of_param, of_grad = norm(param), norm(g)
    if adapt and of_param > 0 and of_grad > 0:
        lr *= quotient(trust_coefficient * of_param, of_grad + weight_decay * of_param + eps)
    g = effective_gradient(param, g, lr=lr, weight_decay=weight_decay, decoupled=False, **NO_CHANGE)
    momentum_buffer[...] = real(momentum) * momentum_buffer + real(lr) * g
    param[...] = param - momentum_buffer


def schedule_free(*, step, weight_sum, lr, warmup_steps):
    """What both rules start from: the rate, and the step's share in all weights."""
    rate = lr * (step / warmup_steps) if step < warmup_steps else lr
    if step == 1:
        weight_sum[...] = 0.0
    weight_sum[...] = float(weight_sum) + rate * rate
    total = float(weight_sum)
    return rate, rate * rate / total if total > 0 else 0.0


@twin
def schedule_free_sgd(
    param, grad, z_offset, *, step, weight_sum, lr, momentum, warmup_steps, **common
):
    real = param.dtype.type
    g = effective_gradient(param, grad, lr=lr, **common)
    rate, share = schedule_free(step=step, weight_sum=weight_sum, lr=lr, warmup_steps=warmup_steps)
    scale = real(rate * (1.0 - momentum * (1.0 - share)))
    update = scale * g - real(share) * z_offset
    z_offset[...] = real(1.0 - share) * (z_offset - real(rate * momentum) * g)
    param[...] = param - update


@twin
def schedule_free_adamw(
    param,
    grad,
    z_offset,
    exp_avg_sq,
    *,
    step,
    weight_sum,
    lr,
    beta1,
    beta2,
    eps,
    warmup_steps,
    weight_decay,
    **common,
):
    real = param.dtype.type
    g = effective_gradient(param, grad, lr=lr, weight_decay=0.0, decoupled=True, **common)
    rate, share = schedule_free(step=step, weight_sum=weight_sum, lr=lr, warmup_steps=warmup_steps)
    correction = float(np.sqrt(1.0 - power(beta2, step)))
    exp_avg_sq[...] = real(beta2) * exp_avg_sq + real(1.0 - beta2) * (g * g)
    d = (real(correction) * g) / (np.sqrt(exp_avg_sq) + real(eps * correction))
    if weight_decay != 0:
        d = d + real(weight_decay) * param
    update = real(rate * (1.0 - beta1 * (1.0 - share))) * d - real(share) * z_offset
    z_offset[...] = real(1.0 - share) * (z_offset - real(rate * beta1) * d)
    param[...] = param - update


@np.errstate(all="ignore")
def prodigy_together(tensors, d, goes_on=False):
    """A step of several arrays. `tensors` has the buffers of each, and the keywords of `prodigy`.

    `d` is what all of them carry. `goes_on`: also if this is their first step, since others have
    taken some.
    """
    _, leader = max(tensors, key=lambda each: each[1]["step"])
    beta3 = leader["beta3"] or float(np.sqrt(leader["beta2"]))
    first = leader["d0"]
    before, numerator, most = (float(number) for number in d)
    if leader["step"] == 1 and not goes_on:
        before = numerator = most = 0.0
    before, most = before or first, most or first
    totals, rest = [0.0, 0.0], []
    for (param, grad, exp_avg, exp_avg_sq, s, p0_offset), hypers in tensors:
        real = param.dtype.type
        lr, beta1, beta2, decay = (hypers[k] for k in ("lr", "beta1", "beta2", "weight_decay"))
        g = effective_gradient(
            param,
            grad,
            lr=lr,
            weight_decay=0.0 if hypers["decoupled"] else decay,
            decoupled=False,
            grad_scale=hypers["grad_scale"],
            maximize=hypers["maximize"],
        )
        rate = before * lr
        if hypers["use_bias_correction"]:
            root = float(np.sqrt(1.0 - power(beta2, hypers["step"])))
            rate *= root / (1.0 - power(beta1, hypers["step"]))
        growth = quotient(before, hypers["d0"]) if hypers["d0"] > 0 else 0.0
        own = hypers["beta3"] or float(np.sqrt(beta2))
        totals[0] += sum_of((real(growth * rate) * g) * p0_offset)
        exp_avg[...] = real(beta1) * exp_avg + real(before * (1.0 - beta1)) * g
        exp_avg_sq[...] = real(beta2) * exp_avg_sq + real(before * before * (1.0 - beta2)) * (g * g)
        factor = growth * (before if hypers["safeguard_warmup"] else rate)
        s[...] = real(own) * s + real(factor) * g
        totals[1] += sum_of(np.abs(s))
        rest.append((param, exp_avg, exp_avg_sq, p0_offset, rate, hypers))
    now = before
    if totals[1] != 0:
        numerator = beta3 * numerator + totals[0]
        estimate = quotient(leader["d_coef"] * numerator, totals[1])
        if now == first and estimate > now:
            now = estimate
        most = estimate if estimate > most else most
        bound = now * leader["growth_rate"] if leader["growth_rate"] > 0 else np.inf
        now = bound if bound < most else most
    d[...] = now, numerator, most
    for param, exp_avg, exp_avg_sq, p0_offset, rate, hypers in rest:
        real = param.dtype.type
        x = (real(rate) * exp_avg) / (np.sqrt(exp_avg_sq) + real((now or before) * hypers["eps"]))
        decay = real(rate * hypers["weight_decay"])
        if hypers["decoupled"] and decay != 0:
            x = x + decay * param
        p0_offset[...] = p0_offset + (param - (param - x))
        param[...] = param - x


TOGETHER["prodigy"] = prodigy_together


@twin
def prodigy(param, grad, exp_avg, exp_avg_sq, s, p0_offset, *, d, **hypers):
    prodigy_together([((param, grad, exp_avg, exp_avg_sq, s, p0_offset), hypers)], d)


def average(array, param, *, step, ema):
    """What a step leaves of the moving average of `param`, which it has just written."""
    real = array.dtype.type
    weight = (1.0 - ema) / (1.0 - power(ema, step))
    if weight == 1:
        array[...] = param
    else:
        array[...] = array - real(weight) * (array - param)


@np.errstate(all="ignore")
def adagrad_of_row(param, grad, row_sum, *, lr, eps, eps_inside=False, **common):
    """Row-wise Adagrad of one row, whose accumulator is an array without dimensions."""
    real = param.dtype.type
    g = effective_gradient(param, grad, lr=lr, **common)
    row_sum[...] = real(float(row_sum) + sum_of_squares(g) / g.size)
    h = np.float64(row_sum)
    rate = lr / (np.sqrt(h + eps) if eps_inside else np.sqrt(h) + eps)
    param[...] = param - real(rate) * g
