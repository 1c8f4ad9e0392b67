"""fastopt in other libraries: one module each, which imports its library only when it is imported.

``torch``
    Drop-in optimizers for CPU tensors.
``deepspeed``
    ``CPUAdam``, ``CPUAdagrad`` and ``CPULion``, for DeepSpeed's offloading.
``thinc``
    An optimizer for Thinc and spaCy.
``sklearn_mlp``
    Multi-layer perceptrons of scikit-learn, trained with any rule.
``threadpoolctl``
    A controller of fastopt's threads.
``sklearn``
    ``BayesSearchCV``, ``SearchCV`` and ``HalvingSearchCV``, searches with cross-validation.
``optuna``
    The strategies of `fastopt.tune` as a sampler, and a study written into Optuna's storage.
``tensorboard``, ``mlflow``, ``wandb``
    Callbacks that record a study.

If the library is missing, the ImportError says what to install.
"""
