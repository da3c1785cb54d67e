"""The types of the other groups, each under its package. Source: the Kubernetes 1.34 API reference."""

TYPES = {
    "io.k8s.api.apps.v1": """
RollingUpdateDeployment
  maxSurge intstr default="25%" #2*
  maxUnavailable intstr default="25%" #1*
DeploymentStrategy
  rollingUpdate RollingUpdateDeployment #2*
  type string enum=RollingUpdate|Recreate default=RollingUpdate #1
DeploymentSpec
  minReadySeconds int min=0 #5
  paused bool #7
  progressDeadlineSeconds int default=600 #9*
  replicas int min=0 default=1 #1*
  revisionHistoryLimit int min=0 default=10 #6*
  selector! LabelSelector #2*
  strategy DeploymentStrategy default={} #4
  template! PodTemplateSpec #3
DeploymentCondition
  type! string #1
  status! string enum=True|False|Unknown #2
  lastTransitionTime time #7
  lastUpdateTime time #6
  message string #5
  reason string #4
DeploymentStatus
  availableReplicas int #4
  collisionCount int #8*
  conditions []DeploymentCondition key=type #6
  observedGeneration int #1
  readyReplicas int #7
  replicas int #2
  terminatingReplicas int #9*
  unavailableReplicas int #5
  updatedReplicas int #3
Deployment
  apiVersion string
  kind string
  metadata ObjectMeta #1
  spec! DeploymentSpec #2
  status DeploymentStatus #3
ReplicaSetSpec
  minReadySeconds int min=0 #4
  replicas int min=0 default=1 #1*
  selector! LabelSelector #2*
  template PodTemplateSpec #3
ReplicaSetStatus
  availableReplicas int #5
  conditions []Condition key=type #6
  fullyLabeledReplicas int #2
  observedGeneration int #3
  readyReplicas int #4
  replicas int #1
  terminatingReplicas int #7*
ReplicaSet
  apiVersion string
  kind string
  metadata ObjectMeta #1
  spec! ReplicaSetSpec #2
  status ReplicaSetStatus #3
RollingUpdateDaemonSet
  maxSurge intstr default=0 #2*
  maxUnavailable intstr default=1 #1*
DaemonSetUpdateStrategy
  rollingUpdate RollingUpdateDaemonSet #2*
  type string enum=RollingUpdate|OnDelete default=RollingUpdate #1
DaemonSetSpec
  minReadySeconds int min=0 #4
  revisionHistoryLimit int min=0 default=10 #6*
  selector! LabelSelector #1*
  template! PodTemplateSpec #2
  updateStrategy DaemonSetUpdateStrategy default={} #3
DaemonSetStatus
  collisionCount int #9*
  conditions []Condition key=type #10
  currentNumberScheduled int #1
  desiredNumberScheduled int #3
  numberAvailable int #7
  numberMisscheduled int #2
  numberReady int #4
  numberUnavailable int #8
  observedGeneration int #5
  updatedNumberScheduled int #6
DaemonSet
  apiVersion string
  kind string
  metadata ObjectMeta #1
  spec! DaemonSetSpec #2
  status DaemonSetStatus #3
""",
    "io.k8s.api.coordination.v1": """
LeaseSpec
  acquireTime time #3*
  holderIdentity string #1*
  leaseDurationSeconds int min=1 #2*
  leaseTransitions int min=0 #5*
  preferredHolder string #7*
  renewTime time #4*
  strategy string #6*
Lease
  apiVersion string
  kind string
  metadata ObjectMeta #1
  spec LeaseSpec #2
""",
    "io.k8s.api.discovery.v1": """
EndpointConditions
  ready bool #1*
  serving bool #2*
  terminating bool #3*
Endpoint
  addresses! []string set #1
  conditions EndpointConditions #2
  deprecatedTopology map[string] #5
  hints object #8*
  hostname string #3*
  nodeName string #6*
  targetRef ObjectReference #4*
  zone string #7*
EndpointSlicePort
  appProtocol string #4*
  name string default="" #1*
  port int min=1 max=65535 #3*
  protocol string enum=TCP|UDP|SCTP default=TCP #2*
EndpointSlice
  apiVersion string
  kind string
  metadata ObjectMeta #1
  addressType! string enum=IPv4|IPv6|FQDN #4
  endpoints []Endpoint atomic #2
  ports []EndpointSlicePort atomic #3
""",
    "io.k8s.api.networking.v1": """
IPBlock
  cidr! string #1
  except []string #2
NetworkPolicyPeer
  ipBlock IPBlock #3*
  namespaceSelector LabelSelector #2*
  podSelector LabelSelector #1*
NetworkPolicyPort
  endPort int min=1 max=65535 #3*
  port intstr #2*
  protocol string enum=TCP|UDP|SCTP default=TCP #1*
NetworkPolicyIngressRule
  from []NetworkPolicyPeer #2
  ports []NetworkPolicyPort #1
NetworkPolicyEgressRule
  ports []NetworkPolicyPort #1
  to []NetworkPolicyPeer #2
NetworkPolicySpec
  egress []NetworkPolicyEgressRule #3
  ingress []NetworkPolicyIngressRule #2
  podSelector LabelSelector default={} #1
  policyTypes []string #4
NetworkPolicy
  apiVersion string
  kind string
  metadata ObjectMeta #1
  spec NetworkPolicySpec #2
""",
    "io.k8s.api.events.v1": """
EventsEventSeries
  count! int #1
  lastObservedTime! time #2
EventsEvent
  apiVersion string
  kind string
  metadata ObjectMeta #1
  action string #6
  deprecatedCount int #15
  deprecatedFirstTimestamp time #13
  deprecatedLastTimestamp time #14
  deprecatedSource EventSource #12
  eventTime time #2
  note string #10
  reason string #7
  regarding ObjectReference #8
  related ObjectReference #9*
  reportingController string #4
  reportingInstance string #5
  series EventsEventSeries #3*
  type string #11
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
  replicas int min=0 #1
ScaleStatus
  replicas int #1
  selector string #2
Scale
  apiVersion string
  kind string
  metadata ObjectMeta #1
  spec ScaleSpec #2
  status ScaleStatus #3
""",
    "io.k8s.api.policy.v1": """
Preconditions
  resourceVersion string #2*
  uid string #1*
DeleteOptions
  apiVersion string
  kind string
  dryRun []string #5
  gracePeriodSeconds int min=0 #1*
  ignoreStoreReadErrorWithClusterBreakingPotential bool #6*
  orphanDependents bool #3*
  preconditions Preconditions #2*
  propagationPolicy string enum=Orphan|Background|Foreground #4*
Eviction
  apiVersion string
  kind string
  metadata ObjectMeta #1
  deleteOptions DeleteOptions #2*
""",
    "io.k8s.api.authorization.v1": """
ResourceAttributes
  fieldSelector object #8*
  group string #3
  labelSelector object #9*
  name string #7
  namespace string #1
  resource string #5
  subresource string #6
  verb string #2
  version string #4
NonResourceAttributes
  path string #1
  verb string #2
SubjectAccessReviewSpec
  extra object #5
  groups []string #4
  nonResourceAttributes NonResourceAttributes #2*
  resourceAttributes ResourceAttributes #1*
  uid string #6
  user string #3
SubjectAccessReview
  apiVersion string
  kind string
  metadata ObjectMeta #1
  spec! SubjectAccessReviewSpec #2
  status SubjectAccessReviewStatus #3
SelfSubjectAccessReviewSpec
  nonResourceAttributes NonResourceAttributes #2*
  resourceAttributes ResourceAttributes #1*
SelfSubjectAccessReview
  apiVersion string
  kind string
  metadata ObjectMeta #1
  spec! SelfSubjectAccessReviewSpec #2
  status SubjectAccessReviewStatus #3
SubjectAccessReviewStatus
  allowed bool #1
  denied bool #4
  evaluationError string #3
  reason string #2
SubjectRulesReviewStatus
  evaluationError string #4
  incomplete bool #3
  nonResourceRules []object #2
  resourceRules []object #1
SelfSubjectRulesReviewSpec
  namespace string #1
SelfSubjectRulesReview
  apiVersion string
  kind string
  metadata ObjectMeta #1
  spec! SelfSubjectRulesReviewSpec #2
  status SubjectRulesReviewStatus #3
""",
    "io.k8s.api.authentication.v1": """
TokenReviewSpec
  audiences []string #2
  token string #1
UserInfo
  extra object #4
  groups []string #3
  uid string #2
  username string #1
TokenReviewStatus
  audiences []string #4
  authenticated bool #1
  error string #3
  user UserInfo #2
SelfSubjectReviewStatus
  userInfo UserInfo #1
TokenReview
  apiVersion string
  kind string
  metadata ObjectMeta #1
  spec! TokenReviewSpec #2
  status TokenReviewStatus #3
SelfSubjectReview
  apiVersion string
  kind string
  metadata ObjectMeta #1
  status SelfSubjectReviewStatus #2
""",
}
