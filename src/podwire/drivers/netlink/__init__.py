"""A small netlink library: messages packed by hand, several to a send.

The words:

* a **request** is a message type, flags and a body (:class:`~podwire.drivers.netlink.wire.Request`);
* an **attribute** is a type-length-value below a message's fixed header; attributes may be **nested**;
* a **dump** is a request that the kernel answers with many messages;
* a **refusal** is the kernel's answer that a request failed: an errno and, often, a sentence (the *extended ack*).

``wire`` knows bytes; ``link``, ``address``, ``route``, ``neighbour`` know rtnetlink's messages, and are as pure;
``socket`` alone does I/O. It blocks: the agent calls it in threads. It knows no policy: what is ours and what should
be is the business of the drivers above.

Sources: ``netlink(7)``, ``rtnetlink(7)``, and the kernel's ``include/uapi/linux/{netlink,rtnetlink,if_link}.h``.
"""
