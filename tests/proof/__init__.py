"""The fifteen gates as a model that Z3 and Python's integers both understand: theorems of the one, agreement by the other."""
