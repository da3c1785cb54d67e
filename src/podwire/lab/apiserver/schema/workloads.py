"""The types of the other groups, each under its package. Source: the Kubernetes 1.34 API reference."""

TYPES = {
    "io.k8s.api.apps.v1": """
RollingUpdateDeployment
  maxSurge intstr default="25%"
  maxUnavailable intstr default="25%"
DeploymentStrategy
  rollingUpdate RollingUpdateDeployment
  type string enum=RollingUpdate|Recreate default=RollingUpdate
DeploymentSpec
  minReadySeconds int min=0
  paused bool
  progressDeadlineSeconds int default=600
  replicas int min=0 default=1
  revisionHistoryLimit int min=0 default=10
  selector! LabelSelector
  strategy DeploymentStrategy default={}
  template! PodTemplateSpec
DeploymentCondition
  type! string
  status! string enum=True|False|Unknown
  lastTransitionTime time
  lastUpdateTime time
  message string
  reason string
DeploymentStatus
  availableReplicas int
  collisionCount int
  conditions []DeploymentCondition key=type
  observedGeneration int
  readyReplicas int
  replicas int
  terminatingReplicas int
  unavailableReplicas int
  updatedReplicas int
Deployment
  apiVersion string
  kind string
  metadata ObjectMeta
  spec! DeploymentSpec
  status DeploymentStatus
ReplicaSetSpec
  minReadySeconds int min=0
  replicas int min=0 default=1
  selector! LabelSelector
  template PodTemplateSpec
ReplicaSetStatus
  availableReplicas int
  conditions []Condition key=type
  fullyLabeledReplicas int
  observedGeneration int
  readyReplicas int
  replicas int
  terminatingReplicas int
ReplicaSet
  apiVersion string
  kind string
  metadata ObjectMeta
  spec! ReplicaSetSpec
  status ReplicaSetStatus
RollingUpdateDaemonSet
  maxSurge intstr default=0
  maxUnavailable intstr default=1
DaemonSetUpdateStrategy
  rollingUpdate RollingUpdateDaemonSet
  type string enum=RollingUpdate|OnDelete default=RollingUpdate
DaemonSetSpec
  minReadySeconds int min=0
  revisionHistoryLimit int min=0 default=10
  selector! LabelSelector
  template! PodTemplateSpec
  updateStrategy DaemonSetUpdateStrategy default={}
DaemonSetStatus
  collisionCount int
  conditions []Condition key=type
  currentNumberScheduled int
  desiredNumberScheduled int
  numberAvailable int
  numberMisscheduled int
  numberReady int
  numberUnavailable int
  observedGeneration int
  updatedNumberScheduled int
DaemonSet
  apiVersion string
  kind string
  metadata ObjectMeta
  spec! DaemonSetSpec
  status DaemonSetStatus
""",
    "io.k8s.api.coordination.v1": """
LeaseSpec
  acquireTime time
  holderIdentity string
  leaseDurationSeconds int min=1
  leaseTransitions int min=0
  preferredHolder string
  renewTime time
  strategy string
Lease
  apiVersion string
  kind string
  metadata ObjectMeta
  spec LeaseSpec
""",
    "io.k8s.api.discovery.v1": """
EndpointConditions
  ready bool
  serving bool
  terminating bool
Endpoint
  addresses! []string set
  conditions EndpointConditions
  deprecatedTopology map[string]
  hints object
  hostname string
  nodeName string
  targetRef ObjectReference
  zone string
EndpointSlicePort
  appProtocol string
  name string default=""
  port int min=1 max=65535
  protocol string enum=TCP|UDP|SCTP default=TCP
EndpointSlice
  apiVersion string
  kind string
  metadata ObjectMeta
  addressType! string enum=IPv4|IPv6|FQDN
  endpoints []Endpoint atomic
  ports []EndpointSlicePort atomic
""",
    "io.k8s.api.networking.v1": """
IPBlock
  cidr! string
  except []string
NetworkPolicyPeer
  ipBlock IPBlock
  namespaceSelector LabelSelector
  podSelector LabelSelector
NetworkPolicyPort
  endPort int min=1 max=65535
  port intstr
  protocol string enum=TCP|UDP|SCTP default=TCP
NetworkPolicyIngressRule
  from []NetworkPolicyPeer
  ports []NetworkPolicyPort
NetworkPolicyEgressRule
  ports []NetworkPolicyPort
  to []NetworkPolicyPeer
NetworkPolicySpec
  egress []NetworkPolicyEgressRule
  ingress []NetworkPolicyIngressRule
  podSelector LabelSelector default={}
  policyTypes []string
NetworkPolicy
  apiVersion string
  kind string
  metadata ObjectMeta
  spec NetworkPolicySpec
""",
    "io.k8s.api.events.v1": """
EventsEventSeries
  count! int
  lastObservedTime! time
EventsEvent
  apiVersion string
  kind string
  metadata ObjectMeta
  action string
  deprecatedCount int
  deprecatedFirstTimestamp time
  deprecatedLastTimestamp time
  deprecatedSource EventSource
  eventTime time
  note string
  reason string
  regarding ObjectReference
  related ObjectReference
  reportingController string
  reportingInstance string
  series EventsEventSeries
  type string
""",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1": """
CustomResourceDefinitionNames
  categories []string
  kind! string
  listKind string
  plural! string
  shortNames []string
  singular string
CustomResourceColumnDefinition
  description string
  format string
  jsonPath! string
  name! string
  priority int
  type! string
CustomResourceSubresourceScale
  labelSelectorPath string
  specReplicasPath! string
  statusReplicasPath! string
CustomResourceSubresources
  scale CustomResourceSubresourceScale
  status object
CustomResourceValidation
  openAPIV3Schema object
SelectableField
  jsonPath! string
CustomResourceDefinitionVersion
  additionalPrinterColumns []CustomResourceColumnDefinition
  deprecated bool
  deprecationWarning string
  name! string
  schema CustomResourceValidation
  selectableFields []SelectableField
  served! bool
  storage! bool
  subresources CustomResourceSubresources
CustomResourceConversion
  strategy string enum=None|Webhook default=None
  webhook object
CustomResourceDefinitionSpec
  conversion CustomResourceConversion default={}
  group! string
  names! CustomResourceDefinitionNames
  preserveUnknownFields bool
  scope! string enum=Cluster|Namespaced
  versions! []CustomResourceDefinitionVersion
CustomResourceDefinitionStatus
  acceptedNames CustomResourceDefinitionNames
  conditions []Condition key=type
  storedVersions []string
CustomResourceDefinition
  apiVersion string
  kind string
  metadata ObjectMeta
  spec! CustomResourceDefinitionSpec
  status CustomResourceDefinitionStatus
""",
    "io.k8s.api.autoscaling.v1": """
ScaleSpec
  replicas int min=0
ScaleStatus
  replicas int
  selector string
Scale
  apiVersion string
  kind string
  metadata ObjectMeta
  spec ScaleSpec
  status ScaleStatus
""",
    "io.k8s.api.policy.v1": """
Preconditions
  resourceVersion string
  uid string
DeleteOptions
  apiVersion string
  kind string
  dryRun []string
  gracePeriodSeconds int min=0
  ignoreStoreReadErrorWithClusterBreakingPotential bool
  orphanDependents bool
  preconditions Preconditions
  propagationPolicy string enum=Orphan|Background|Foreground
Eviction
  apiVersion string
  kind string
  metadata ObjectMeta
  deleteOptions DeleteOptions
""",
    "io.k8s.api.authorization.v1": """
ResourceAttributes
  fieldSelector object
  group string
  labelSelector object
  name string
  namespace string
  resource string
  subresource string
  verb string
  version string
NonResourceAttributes
  path string
  verb string
SubjectAccessReviewSpec
  extra object
  groups []string
  nonResourceAttributes NonResourceAttributes
  resourceAttributes ResourceAttributes
  uid string
  user string
SubjectAccessReview
  apiVersion string
  kind string
  metadata ObjectMeta
  spec! SubjectAccessReviewSpec
  status object
SelfSubjectAccessReviewSpec
  nonResourceAttributes NonResourceAttributes
  resourceAttributes ResourceAttributes
SelfSubjectAccessReview
  apiVersion string
  kind string
  metadata ObjectMeta
  spec! SelfSubjectAccessReviewSpec
  status object
SelfSubjectRulesReviewSpec
  namespace string
SelfSubjectRulesReview
  apiVersion string
  kind string
  metadata ObjectMeta
  spec! SelfSubjectRulesReviewSpec
  status object
""",
    "io.k8s.api.authentication.v1": """
TokenReviewSpec
  audiences []string
  token string
TokenReview
  apiVersion string
  kind string
  metadata ObjectMeta
  spec! TokenReviewSpec
  status object
SelfSubjectReview
  apiVersion string
  kind string
  metadata ObjectMeta
  status object
""",
}
