"""REST: from an HTTP request to a transaction and back.

:mod:`.path` says what a URL asks for, :mod:`.negotiate` in which form, :mod:`.handler` who may (with
:mod:`..authorize`) and which verb answers. The verbs that write are in :mod:`.writes`, :mod:`.deletion` and
:mod:`.subresources`, those that read in :mod:`.reads` and :mod:`.watches`.
"""
