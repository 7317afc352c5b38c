"""The compiler of tangent kernels: from a traced predictor to contractions of small factors.

A predictor is traced for one row (``_traced_predictor``, ``_program``); the uses of every
parameter are found (``_sites``, ``_aliases``, ``_contractions``, ``_convolutions``,
``_loops``); the planner chooses for each parameter pairwise factors or a Jacobian
(``_planner``, ``_plan``, ``_blocking``); ``_contract`` computes the kernel from that plan.
``_entry`` holds the public functions, ``_explain`` puts the plan into words.
"""
