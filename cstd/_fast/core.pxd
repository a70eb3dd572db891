"""The compiled engine as Python sees it. See core.pyx."""
from cstd._fast.engine cimport FastEngine

cdef class Core(FastEngine):
    pass
