"""podwire: the Kubernetes network model, implemented and proven.

A cluster network owes its pods three guarantees, and every room of this package exists for them:

1. every pod has its own cluster-wide unique IP address, shared by its containers;
2. any pod reaches any pod on any node without NAT: the receiver sees the sender's pod IP;
3. agents on a node reach every pod of that node.

ARCHITECTURE.md in the repository describes the rooms, their layers and the one way that data flows.
"""

__version__ = "0.1.0.dev0"
