# Whether lists and dictionaries still hold what they did; part of _core.pyx.


cdef class Snapshot:
    """What lists and dictionaries hold, object by object.

    Parameters
    ----------
    containers : list of list or dict
    """

    cdef list containers
    cdef list items  # a list for each container; of a dictionary, keys and values in turn

    def __init__(self, list containers not None):
        self.containers = list(containers)
        self.items = []
        for container in containers:
            if isinstance(container, dict):
                self.items.append([part for pair in container.items() for part in pair])
            else:
                self.items.append(list(container))

    def holds(self):
        """Whether each container holds the very objects, in the same order, that it did."""
        cdef Py_ssize_t i, k, size, position
        cdef PyObject *key
        cdef PyObject *value
        cdef list items
        for i in range(PyList_GET_SIZE(self.containers)):
            container = <object>PyList_GET_ITEM(self.containers, i)
            items = <list>PyList_GET_ITEM(self.items, i)
            size = PyList_GET_SIZE(items)
            if isinstance(container, dict):
                if 2 * PyDict_Size(container) != size:
                    return False
                position = k = 0
                while PyDict_Next(container, &position, &key, &value):
                    if (key != <PyObject *>PyList_GET_ITEM(items, k)
                            or value != <PyObject *>PyList_GET_ITEM(items, k + 1)):
                        return False
                    k += 2
            elif isinstance(container, list):
                if PyList_GET_SIZE(container) != size:
                    return False
                for k in range(size):
                    if PyList_GET_ITEM(container, k) != PyList_GET_ITEM(items, k):
                        return False
            else:
                return False
        return True
