"""The types of the core kinds other than Pod. Source: the Kubernetes 1.34 API reference, core v1."""

PACKAGE = "io.k8s.api.core.v1"

TYPES = """
Namespace
  apiVersion string
  kind string
  metadata ObjectMeta
  spec NamespaceSpec
  status NamespaceStatus
NamespaceSpec
  finalizers []string atomic
NamespaceCondition
  type! string
  status! string enum=True|False|Unknown
  lastTransitionTime time
  reason string
  message string
NamespaceStatus
  conditions []NamespaceCondition key=type
  phase string
Node
  apiVersion string
  kind string
  metadata ObjectMeta
  spec NodeSpec
  status NodeStatus
Taint
  effect! string enum=NoSchedule|PreferNoSchedule|NoExecute
  key! string
  timeAdded time
  value string
NodeSpec
  configSource object
  externalID string
  podCIDR string
  podCIDRs []string set
  providerID string
  taints []Taint atomic
  unschedulable bool
NodeAddress
  address! string
  type! string
NodeCondition
  type! string
  status! string enum=True|False|Unknown
  lastHeartbeatTime time
  lastTransitionTime time
  message string
  reason string
DaemonEndpoint
  Port! int
NodeDaemonEndpoints
  kubeletEndpoint DaemonEndpoint
NodeSystemInfo
  architecture string
  bootID string
  containerRuntimeVersion string
  kernelVersion string
  kubeProxyVersion string
  kubeletVersion string
  machineID string
  operatingSystem string
  osImage string
  swap object
  systemUUID string
NodeStatus
  addresses []NodeAddress key=type
  allocatable map[quantity]
  capacity map[quantity]
  conditions []NodeCondition key=type
  config object
  daemonEndpoints NodeDaemonEndpoints
  declaredFeatures []string
  features object
  images []object
  nodeInfo NodeSystemInfo
  phase string
  runtimeHandlers []object
  volumesAttached []object
  volumesInUse []string
ObjectReference
  apiVersion string
  fieldPath string
  kind string
  name string
  namespace string
  resourceVersion string
  uid string
ServiceAccount
  apiVersion string
  kind string
  metadata ObjectMeta
  automountServiceAccountToken bool
  imagePullSecrets []LocalObjectReference key=name
  secrets []ObjectReference key=name
ConfigMap
  apiVersion string
  kind string
  metadata ObjectMeta
  binaryData map[bytes]
  data map[string]
  immutable bool
Secret
  apiVersion string
  kind string
  metadata ObjectMeta
  data map[bytes]
  immutable bool
  stringData map[string]
  type string default=Opaque
EventSource
  component string
  host string
EventSeries
  count int
  lastObservedTime time
Event
  apiVersion string
  kind string
  metadata ObjectMeta
  action string
  count int
  eventTime time
  firstTimestamp time
  involvedObject! ObjectReference
  lastTimestamp time
  message string
  reason string
  related ObjectReference
  reportingComponent string default=""
  reportingInstance string default=""
  series EventSeries
  source EventSource default={}
  type string
Binding
  apiVersion string
  kind string
  metadata ObjectMeta
  target! ObjectReference
ServicePort
  appProtocol string
  name string
  nodePort int min=0 max=65535
  port! int min=1 max=65535
  protocol string enum=TCP|UDP|SCTP default=TCP
  targetPort intstr
ClientIPConfig
  timeoutSeconds int min=1 max=86400
SessionAffinityConfig
  clientIP ClientIPConfig
ServiceSpec
  allocateLoadBalancerNodePorts bool
  clusterIP string
  clusterIPs []string atomic
  externalIPs []string
  externalName string
  externalTrafficPolicy string enum=Cluster|Local
  healthCheckNodePort int
  internalTrafficPolicy string enum=Cluster|Local
  ipFamilies []string atomic
  ipFamilyPolicy string enum=SingleStack|PreferDualStack|RequireDualStack
  loadBalancerClass string
  loadBalancerIP string
  loadBalancerSourceRanges []string
  ports []ServicePort key=port keys=port,protocol
  publishNotReadyAddresses bool
  selector map[string] atomic
  sessionAffinity string enum=ClientIP|None default=None
  sessionAffinityConfig SessionAffinityConfig
  trafficDistribution string
  type string enum=ClusterIP|NodePort|LoadBalancer|ExternalName default=ClusterIP
PortStatus
  error string
  port! int
  protocol! string
LoadBalancerIngress
  hostname string
  ip string
  ipMode string
  ports []PortStatus
LoadBalancerStatus
  ingress []LoadBalancerIngress
ServiceStatus
  conditions []Condition key=type
  loadBalancer LoadBalancerStatus
Service
  apiVersion string
  kind string
  metadata ObjectMeta
  spec ServiceSpec
  status ServiceStatus
EndpointAddress
  hostname string
  ip! string
  nodeName string
  targetRef ObjectReference
EndpointPort
  appProtocol string
  name string
  port! int
  protocol string enum=TCP|UDP|SCTP default=TCP
EndpointSubset
  addresses []EndpointAddress
  notReadyAddresses []EndpointAddress
  ports []EndpointPort
Endpoints
  apiVersion string
  kind string
  metadata ObjectMeta
  subsets []EndpointSubset
"""
