"""The probe: ``python -m podwire.verify.probe``, JSON lines in, JSON lines out, until its input ends.

A command is ``{"id": 7, "do": "send", …}``; its answer is ``{"id": 7, "result": …}`` or ``{"id": 7, "error": "…"}``, in
whatever order commands finish. A line that is no command is answered with ``"id": null`` and an error, and harms
nothing. The first line that a probe prints greets: ``{"hello": "podwire-probe", "version": 1}``. ``--hold`` makes a
process that does nothing until it is told to end: the life of a probe pod, into which probes are started by exec.

Commands (:mod:`.commands`): ``facts``, ``listen``, ``seen``, ``send``, ``largest``, ``bind``, ``capture``,
``captured``, ``frames``, ``places``, ``observe``, ``lookup``, ``conntrack``.

Only the standard library and podwire's own light modules are imported, and threads serve the sockets: a probe is ready
a few hundredths of a second after its exec. It needs CAP_NET_RAW for ICMP and captures, CAP_NET_ADMIN for conntrack.
"""

VERSION = 1
