"""What may be said of the scores of several methods: pure functions on tables, without drawing or files.

``patients`` makes the patients x methods table everything else starts from; ``bootstrap``, ``comparisons``,
``rankings`` and ``stability`` each answer one question about it; ``floors`` and ``comparability`` say what the data
cannot carry, ``ties`` when two scores are equal; ``analysis`` puts the answers together. Import from the modules: they
load pandas and scipy.
"""
