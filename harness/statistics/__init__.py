"""What may be said of the scores of several methods: pure functions on tables, without drawing or files.

``patients`` makes the patients x methods table everything else starts from; ``bootstrap``, ``comparisons``,
``rankings`` and ``stability`` each answer one question about it; ``sample_size`` and ``comparability`` say which
questions the data cannot answer, ``ties`` when two scores are equal; ``analysis`` puts the answers together. Import
from the modules: they load pandas and scipy.
"""
