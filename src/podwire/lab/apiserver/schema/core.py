"""The types of the core kinds other than Pod. Source: the Kubernetes 1.34 API reference, core v1."""

PACKAGE = "io.k8s.api.core.v1"

TYPES = """
Namespace
  apiVersion string
  kind string
  metadata ObjectMeta #1
  spec NamespaceSpec #2
  status NamespaceStatus #3
NamespaceSpec
  finalizers []string atomic #1
NamespaceCondition
  type! string #1
  status! string enum=True|False|Unknown #2
  lastTransitionTime time #4
  reason string #5
  message string #6
NamespaceStatus
  conditions []NamespaceCondition key=type #2
  phase string #1
Node
  apiVersion string
  kind string
  metadata ObjectMeta #1
  spec NodeSpec #2
  status NodeStatus #3
Taint
  effect! string enum=NoSchedule|PreferNoSchedule|NoExecute #3
  key! string #1
  timeAdded time #4*
  value string #2
NodeSpec
  configSource object #6*
  externalID string #2
  podCIDR string #1
  podCIDRs []string set #7
  providerID string #3
  taints []Taint atomic #5
  unschedulable bool #4
NodeAddress
  address! string #2
  type! string #1
NodeCondition
  type! string #1
  status! string enum=True|False|Unknown #2
  lastHeartbeatTime time #3
  lastTransitionTime time #4
  message string #6
  reason string #5
DaemonEndpoint
  Port! int #1
NodeDaemonEndpoints
  kubeletEndpoint DaemonEndpoint #1
NodeSystemInfo
  architecture string #10
  bootID string #3
  containerRuntimeVersion string #6
  kernelVersion string #4
  kubeProxyVersion string #8
  kubeletVersion string #7
  machineID string #1
  operatingSystem string #9
  osImage string #5
  swap object #11*
  systemUUID string #2
NodeStatus
  addresses []NodeAddress key=type #5
  allocatable map[quantity] #2
  capacity map[quantity] #1
  conditions []NodeCondition key=type #4
  config object #11*
  daemonEndpoints NodeDaemonEndpoints #6
  declaredFeatures []string #14
  features object #13*
  images []object #8
  nodeInfo NodeSystemInfo #7
  phase string #3
  runtimeHandlers []object #12
  volumesAttached []object #10
  volumesInUse []string #9
ObjectReference
  apiVersion string #5
  fieldPath string #7
  kind string #1
  name string #3
  namespace string #2
  resourceVersion string #6
  uid string #4
ServiceAccount
  apiVersion string
  kind string
  metadata ObjectMeta #1
  automountServiceAccountToken bool #4*
  imagePullSecrets []LocalObjectReference key=name #3
  secrets []ObjectReference key=name #2
ConfigMap
  apiVersion string
  kind string
  metadata ObjectMeta #1
  binaryData map[bytes] #3
  data map[string] #2
  immutable bool #4*
Secret
  apiVersion string
  kind string
  metadata ObjectMeta #1
  data map[bytes] #2
  immutable bool #5*
  stringData map[string] #4
  type string default=Opaque #3
EventSource
  component string #1
  host string #2
EventSeries
  count int #1
  lastObservedTime time #2
Event
  apiVersion string
  kind string
  metadata ObjectMeta #1
  action string #12
  count int #8
  eventTime time #10
  firstTimestamp time #6
  involvedObject! ObjectReference #2
  lastTimestamp time #7
  message string #4
  reason string #3
  related ObjectReference #13*
  reportingComponent string default="" #14
  reportingInstance string default="" #15
  series EventSeries #11*
  source EventSource default={} #5
  type string #9
Binding
  apiVersion string
  kind string
  metadata ObjectMeta #1
  target! ObjectReference #2
ServicePort
  appProtocol string #6*
  name string #1
  nodePort int min=0 max=65535 #5
  port! int min=1 max=65535 #3
  protocol string enum=TCP|UDP|SCTP default=TCP #2
  targetPort intstr #4
ClientIPConfig
  timeoutSeconds int min=1 max=86400 #1*
SessionAffinityConfig
  clientIP ClientIPConfig #1*
ServiceSpec
  allocateLoadBalancerNodePorts bool #20*
  clusterIP string #3
  clusterIPs []string atomic #18
  externalIPs []string #5
  externalName string #10
  externalTrafficPolicy string enum=Cluster|Local #11
  healthCheckNodePort int #12
  internalTrafficPolicy string enum=Cluster|Local #22*
  ipFamilies []string atomic #19
  ipFamilyPolicy string enum=SingleStack|PreferDualStack|RequireDualStack #17*
  loadBalancerClass string #21*
  loadBalancerIP string #8
  loadBalancerSourceRanges []string #9
  ports []ServicePort key=port keys=port,protocol #1
  publishNotReadyAddresses bool #13
  selector map[string] atomic #2
  sessionAffinity string enum=ClientIP|None default=None #7
  sessionAffinityConfig SessionAffinityConfig #14*
  trafficDistribution string #23*
  type string enum=ClusterIP|NodePort|LoadBalancer|ExternalName default=ClusterIP #4
PortStatus
  error string #3*
  port! int #1
  protocol! string #2
LoadBalancerIngress
  hostname string #2
  ip string #1
  ipMode string #3*
  ports []PortStatus #4
LoadBalancerStatus
  ingress []LoadBalancerIngress #1
ServiceStatus
  conditions []Condition key=type #2
  loadBalancer LoadBalancerStatus #1
Service
  apiVersion string
  kind string
  metadata ObjectMeta #1
  spec ServiceSpec #2
  status ServiceStatus #3
EndpointAddress
  hostname string #3
  ip! string #1
  nodeName string #4*
  targetRef ObjectReference #2*
EndpointPort
  appProtocol string #4*
  name string #1
  port! int #2
  protocol string enum=TCP|UDP|SCTP default=TCP #3
EndpointSubset
  addresses []EndpointAddress #1
  notReadyAddresses []EndpointAddress #2
  ports []EndpointPort #3
Endpoints
  apiVersion string
  kind string
  metadata ObjectMeta #1
  subsets []EndpointSubset #2
"""
