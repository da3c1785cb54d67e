"""Reconciling: what turns what is into what should be. Pure; the drivers carry it out.

:mod:`~podwire.reconcile.delta` compares, :mod:`~podwire.reconcile.order` orders, :mod:`~podwire.reconcile.retry` says when to
try again, and :mod:`~podwire.reconcile.driver` is what a driver must be able to do. None of them knows what a route is for.
"""
