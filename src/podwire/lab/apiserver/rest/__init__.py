"""REST: from an HTTP request to a transaction and back.

:mod:`.path` says what a URL asks for, :mod:`.negotiate` in which form, :mod:`.handler` who may (with
:mod:`..authorize`). :mod:`.reading` and :mod:`.writing` are the verbs as HTTP sees them; below them, without HTTP,
:mod:`.reads` and :mod:`.watches` read, :mod:`.writes`, :mod:`.deletion` and :mod:`.subresources` write, and
:mod:`.kubelet` carries logs and exec.
"""
