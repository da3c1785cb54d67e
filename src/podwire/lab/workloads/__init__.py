"""The lab's ready workloads: small programs for pods to run where no image can be pulled.

Each module is one file of standard-library Python that imports nothing of podwire, so that it starts in milliseconds
as ``python -I -S FILE``. ``lab/images.py`` gives them their image names.
"""
