"""Numbers of the per-interface IPv4 settings (``IPV4_DEVCONF_*`` of ``include/uapi/linux/ip.h``), by sysctl name.

rtnetlink sets them in the message that brings the link up (IFLA_AF_SPEC), so that no file below /proc is opened on
the path that a pod waits for. IPv6 offers this for ``addr_gen_mode`` alone; its other settings go through /proc.
"""

from __future__ import annotations

IPV4 = {
    name: number
    for number, name in enumerate(
        (
            "forwarding",
            "mc_forwarding",
            "proxy_arp",
            "accept_redirects",
            "secure_redirects",
            "send_redirects",
            "shared_media",
            "rp_filter",
            "accept_source_route",
            "bootp_relay",
            "log_martians",
            "tag",
            "arp_filter",
            "medium_id",
            "disable_xfrm",
            "disable_policy",
            "force_igmp_version",
            "arp_announce",
            "arp_ignore",
            "promote_secondaries",
            "arp_accept",
            "arp_notify",
            "accept_local",
            "src_valid_mark",
            "proxy_arp_pvlan",
            "route_localnet",
        ),
        start=1,
    )
}
