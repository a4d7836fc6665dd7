"""Where a tensor of TensorFlow lies, which says so only through DLPack."""

import ctypes

import tensorflow as tf


def address(tensor: tf.Tensor) -> int:
    """The address of the tensor's first element: `data`, the first field of a DLManagedTensor."""
    capsule = tf.experimental.dlpack.to_dlpack(tensor)
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype = ctypes.POINTER(ctypes.c_void_p)
    get_pointer.argtypes = (ctypes.py_object, ctypes.c_char_p)
    return get_pointer(capsule, b"dltensor")[0] or 0
