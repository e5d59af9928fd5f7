"""Our kernels as candidates for the steps of a Program (see `choice.py`): a module for each family.

A family gives the *forms* of some steps: what work they are, and what each argument is. Everything else is the same for
all families, and stands in `base.py`.
"""
