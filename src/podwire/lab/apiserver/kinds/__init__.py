"""Kinds: what is served, and the little in which one kind differs from another.

A **resource** (:mod:`.resource`) is a row of the table (:mod:`.table`): its names, schema, subresources, columns and
**strategy** (:mod:`.strategy`): defaults, validation, fields to select by. Custom kinds become rows when their
definition is stored (:mod:`.custom`), and are handled by the same code as the built-in ones.
"""
