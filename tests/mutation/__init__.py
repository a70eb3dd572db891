"""Faults planted in the gate kernels, one at a time: the model beside the kernel must notice each of them."""
