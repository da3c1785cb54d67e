"""The types of a Pod, and of the template in workloads. Source: the Kubernetes 1.34 API reference, Pod v1 core."""

PACKAGE = "io.k8s.api.core.v1"

TYPES = """
Pod
  apiVersion string
  kind string
  metadata ObjectMeta
  spec! PodSpec
  status PodStatus
PodTemplateSpec
  metadata ObjectMeta
  spec! PodSpec
PodSpec
  activeDeadlineSeconds int min=1
  affinity object
  automountServiceAccountToken bool
  containers! []Container key=name
  dnsConfig PodDNSConfig
  dnsPolicy string enum=ClusterFirst|ClusterFirstWithHostNet|Default|None default=ClusterFirst
  enableServiceLinks bool default=true
  ephemeralContainers []object key=name
  hostAliases []HostAlias key=ip
  hostIPC bool
  hostNetwork bool
  hostPID bool
  hostUsers bool
  hostname string
  hostnameOverride string
  imagePullSecrets []LocalObjectReference key=name
  initContainers []Container key=name
  nodeName string
  nodeSelector map[string] atomic
  os PodOS
  overhead map[quantity]
  preemptionPolicy string enum=PreemptLowerPriority|Never
  priority int
  priorityClassName string
  readinessGates []PodReadinessGate
  resourceClaims []object key=name
  resources ResourceRequirements
  restartPolicy string enum=Always|OnFailure|Never default=Always
  runtimeClassName string
  schedulerName string default=default-scheduler
  schedulingGates []PodSchedulingGate key=name
  securityContext PodSecurityContext default={}
  serviceAccount string
  serviceAccountName string
  setHostnameAsFQDN bool
  shareProcessNamespace bool
  subdomain string
  terminationGracePeriodSeconds int min=0 default=30
  tolerations []Toleration
  topologySpreadConstraints []TopologySpreadConstraint key=topologyKey keys=topologyKey,whenUnsatisfiable
  volumes []Volume key=name
PodOS
  name! string enum=linux|windows
PodReadinessGate
  conditionType! string
PodSchedulingGate
  name! string
LocalObjectReference
  name string
HostAlias
  ip! string
  hostnames []string
PodDNSConfigOption
  name string
  value string
PodDNSConfig
  nameservers []string
  searches []string
  options []PodDNSConfigOption
Toleration
  key string
  operator string enum=Exists|Equal
  value string
  effect string enum=NoSchedule|PreferNoSchedule|NoExecute
  tolerationSeconds int
TopologySpreadConstraint
  maxSkew! int min=1
  topologyKey! string
  whenUnsatisfiable! string enum=DoNotSchedule|ScheduleAnyway
  labelSelector LabelSelector
  matchLabelKeys []string
  minDomains int
  nodeAffinityPolicy string
  nodeTaintsPolicy string
Sysctl
  name! string
  value string
SELinuxOptions
  level string
  role string
  type string
  user string
SeccompProfile
  type! string enum=Localhost|RuntimeDefault|Unconfined
  localhostProfile string
AppArmorProfile
  type! string enum=Localhost|RuntimeDefault|Unconfined
  localhostProfile string
PodSecurityContext
  appArmorProfile AppArmorProfile
  fsGroup int
  fsGroupChangePolicy string
  runAsGroup int
  runAsNonRoot bool
  runAsUser int
  seLinuxChangePolicy string
  seLinuxOptions SELinuxOptions
  seccompProfile SeccompProfile
  supplementalGroups []int
  supplementalGroupsPolicy string
  sysctls []Sysctl
  windowsOptions object
Capabilities
  add []string
  drop []string
SecurityContext
  allowPrivilegeEscalation bool
  appArmorProfile AppArmorProfile
  capabilities Capabilities
  privileged bool
  procMount string
  readOnlyRootFilesystem bool
  runAsGroup int
  runAsNonRoot bool
  runAsUser int
  seLinuxOptions SELinuxOptions
  seccompProfile SeccompProfile
  windowsOptions object
ContainerPort
  containerPort! int min=1 max=65535
  hostIP string
  hostPort int min=0 max=65535
  name string
  protocol string enum=TCP|UDP|SCTP default=TCP
ObjectFieldSelector
  apiVersion string default="v1"
  fieldPath! string
ResourceFieldSelector
  containerName string
  divisor quantity
  resource! string
KeySelector
  key! string
  name string
  optional bool
EnvVarSource
  configMapKeyRef KeySelector
  fieldRef ObjectFieldSelector
  fileKeyRef object
  resourceFieldRef ResourceFieldSelector
  secretKeyRef KeySelector
EnvVar
  name! string
  value string
  valueFrom EnvVarSource
EnvSourceReference
  name string
  optional bool
EnvFromSource
  configMapRef EnvSourceReference
  prefix string
  secretRef EnvSourceReference
ExecAction
  command []string
HTTPHeader
  name! string
  value string
HTTPGetAction
  host string
  httpHeaders []HTTPHeader
  path string default="/"
  port! intstr
  scheme string enum=HTTP|HTTPS default=HTTP
TCPSocketAction
  host string
  port! intstr
GRPCAction
  port! int min=1 max=65535
  service string default=""
SleepAction
  seconds! int
LifecycleHandler
  exec ExecAction
  httpGet HTTPGetAction
  sleep SleepAction
  tcpSocket TCPSocketAction
Lifecycle
  postStart LifecycleHandler
  preStop LifecycleHandler
  stopSignal string
Probe
  exec ExecAction
  failureThreshold int min=1 default=3
  grpc GRPCAction
  httpGet HTTPGetAction
  initialDelaySeconds int min=0
  periodSeconds int min=1 default=10
  successThreshold int min=1 default=1
  tcpSocket TCPSocketAction
  terminationGracePeriodSeconds int
  timeoutSeconds int min=1 default=1
ResourceRequirements
  claims []object key=name
  limits map[quantity]
  requests map[quantity]
VolumeMount
  mountPath! string
  mountPropagation string
  name! string
  readOnly bool
  recursiveReadOnly string
  subPath string
  subPathExpr string
VolumeDevice
  devicePath! string
  name! string
Container
  args []string
  command []string
  env []EnvVar key=name
  envFrom []EnvFromSource
  image string
  imagePullPolicy string enum=Always|IfNotPresent|Never
  lifecycle Lifecycle
  livenessProbe Probe
  name! string
  ports []ContainerPort key=containerPort keys=containerPort,protocol
  readinessProbe Probe
  resizePolicy []object
  resources ResourceRequirements default={}
  restartPolicy string
  restartPolicyRules []object
  securityContext SecurityContext
  startupProbe Probe
  stdin bool
  stdinOnce bool
  terminationMessagePath string default=/dev/termination-log
  terminationMessagePolicy string enum=File|FallbackToLogsOnError default=File
  tty bool
  volumeDevices []VolumeDevice key=devicePath
  volumeMounts []VolumeMount key=mountPath
  workingDir string
KeyToPath
  key! string
  mode int
  path! string
ConfigMapVolumeSource
  defaultMode int default=420
  items []KeyToPath
  name string
  optional bool
SecretVolumeSource
  defaultMode int default=420
  items []KeyToPath
  optional bool
  secretName string
EmptyDirVolumeSource
  medium string
  sizeLimit quantity
HostPathVolumeSource
  path! string
  type string default=""
DownwardAPIVolumeSource
  defaultMode int default=420
  items []object
ProjectedVolumeSource
  defaultMode int default=420
  sources []object
Volume
  configMap ConfigMapVolumeSource
  csi object
  downwardAPI DownwardAPIVolumeSource
  emptyDir EmptyDirVolumeSource
  ephemeral object
  hostPath HostPathVolumeSource
  image object
  name! string
  nfs object
  persistentVolumeClaim object
  projected ProjectedVolumeSource
  secret SecretVolumeSource
PodIP
  ip! string
PodCondition
  type! string
  status! string enum=True|False|Unknown
  lastProbeTime time
  lastTransitionTime time
  message string
  observedGeneration int
  reason string
ContainerStateWaiting
  message string
  reason string
ContainerStateRunning
  startedAt time
ContainerStateTerminated
  containerID string
  exitCode! int
  finishedAt time
  message string
  reason string
  signal int
  startedAt time
ContainerState
  running ContainerStateRunning
  terminated ContainerStateTerminated
  waiting ContainerStateWaiting
ContainerStatus
  allocatedResources map[quantity]
  allocatedResourcesStatus []object
  containerID string
  image string
  imageID string
  lastState ContainerState
  name! string
  ready bool
  resources ResourceRequirements
  restartCount int
  started bool
  state ContainerState
  stopSignal string
  user object
  volumeMounts []object
PodStatus
  conditions []PodCondition key=type
  containerStatuses []ContainerStatus
  ephemeralContainerStatuses []ContainerStatus
  extendedResourceClaimStatus object
  hostIP string
  hostIPs []PodIP atomic
  initContainerStatuses []ContainerStatus
  message string
  nominatedNodeName string
  observedGeneration int
  phase string enum=Pending|Running|Succeeded|Failed|Unknown
  podIP string
  podIPs []PodIP key=ip
  qosClass string
  reason string
  resize string
  resourceClaimStatuses []object key=name
  startTime time
"""
