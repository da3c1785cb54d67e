"""The types of a Pod, and of the template in workloads. Source: the Kubernetes 1.34 API reference, Pod v1 core."""

PACKAGE = "io.k8s.api.core.v1"

TYPES = """
Pod
  apiVersion string
  kind string
  metadata ObjectMeta #1
  spec! PodSpec #2
  status PodStatus #3
PodTemplateSpec
  metadata ObjectMeta #1
  spec! PodSpec #2
PodSpec
  activeDeadlineSeconds int min=1 #5*
  affinity object #18*
  automountServiceAccountToken bool #21*
  containers! []Container key=name #2
  dnsConfig PodDNSConfig #26*
  dnsPolicy string enum=ClusterFirst|ClusterFirstWithHostNet|Default|None default=ClusterFirst #6
  enableServiceLinks bool default=true #30*
  ephemeralContainers []object key=name #34
  hostAliases []HostAlias key=ip #23
  hostIPC bool #13
  hostNetwork bool #11
  hostPID bool #12
  hostUsers bool #37*
  hostname string #16
  hostnameOverride string #41*
  imagePullSecrets []LocalObjectReference key=name #15
  initContainers []Container key=name #20
  nodeName string #10
  nodeSelector map[string] atomic #7
  os PodOS #36*
  overhead map[quantity] #32
  preemptionPolicy string enum=PreemptLowerPriority|Never #31*
  priority int #25*
  priorityClassName string #24
  readinessGates []PodReadinessGate #28
  resourceClaims []object key=name #39
  resources ResourceRequirements #40*
  restartPolicy string enum=Always|OnFailure|Never default=Always #3
  runtimeClassName string #29*
  schedulerName string default=default-scheduler #19
  schedulingGates []PodSchedulingGate key=name #38
  securityContext PodSecurityContext default={} #14*
  serviceAccount string #9
  serviceAccountName string #8
  setHostnameAsFQDN bool #35*
  shareProcessNamespace bool #27*
  subdomain string #17
  terminationGracePeriodSeconds int min=0 default=30 #4*
  tolerations []Toleration #22
  topologySpreadConstraints []TopologySpreadConstraint key=topologyKey keys=topologyKey,whenUnsatisfiable #33
  volumes []Volume key=name #1
PodOS
  name! string enum=linux|windows #1
PodReadinessGate
  conditionType! string #1
PodSchedulingGate
  name! string #1
LocalObjectReference
  name string #1
HostAlias
  ip! string #1
  hostnames []string #2
PodDNSConfigOption
  name string #1
  value string #2*
PodDNSConfig
  nameservers []string #1
  searches []string #2
  options []PodDNSConfigOption #3
Toleration
  key string #1
  operator string enum=Exists|Equal #2
  value string #3
  effect string enum=NoSchedule|PreferNoSchedule|NoExecute #4
  tolerationSeconds int #5*
TopologySpreadConstraint
  maxSkew! int min=1 #1
  topologyKey! string #2
  whenUnsatisfiable! string enum=DoNotSchedule|ScheduleAnyway #3
  labelSelector LabelSelector #4*
  matchLabelKeys []string #8
  minDomains int #5*
  nodeAffinityPolicy string #6*
  nodeTaintsPolicy string #7*
Sysctl
  name! string #1
  value string #2
SELinuxOptions
  level string #4
  role string #2
  type string #3
  user string #1
SeccompProfile
  type! string enum=Localhost|RuntimeDefault|Unconfined #1
  localhostProfile string #2*
AppArmorProfile
  type! string enum=Localhost|RuntimeDefault|Unconfined #1
  localhostProfile string #2*
PodSecurityContext
  appArmorProfile AppArmorProfile #11*
  fsGroup int #5*
  fsGroupChangePolicy string #9*
  runAsGroup int #6*
  runAsNonRoot bool #3*
  runAsUser int #2*
  seLinuxChangePolicy string #13*
  seLinuxOptions SELinuxOptions #1*
  seccompProfile SeccompProfile #10*
  supplementalGroups []int #4
  supplementalGroupsPolicy string #12*
  sysctls []Sysctl #7
  windowsOptions object #8*
Capabilities
  add []string #1
  drop []string #2
SecurityContext
  allowPrivilegeEscalation bool #7*
  appArmorProfile AppArmorProfile #12*
  capabilities Capabilities #1*
  privileged bool #2*
  procMount string #9*
  readOnlyRootFilesystem bool #6*
  runAsGroup int #8*
  runAsNonRoot bool #5*
  runAsUser int #4*
  seLinuxOptions SELinuxOptions #3*
  seccompProfile SeccompProfile #11*
  windowsOptions object #10*
ContainerPort
  containerPort! int min=1 max=65535 #3
  hostIP string #5
  hostPort int min=0 max=65535 #2
  name string #1
  protocol string enum=TCP|UDP|SCTP default=TCP #4
ObjectFieldSelector
  apiVersion string default="v1" #1
  fieldPath! string #2
ResourceFieldSelector
  containerName string #1
  divisor quantity #3
  resource! string #2
KeySelector
  * LocalObjectReference #1
  key! string #2
  optional bool #3*
EnvVarSource
  configMapKeyRef KeySelector #3*
  fieldRef ObjectFieldSelector #1*
  fileKeyRef object #5*
  resourceFieldRef ResourceFieldSelector #2*
  secretKeyRef KeySelector #4*
EnvVar
  name! string #1
  value string #2
  valueFrom EnvVarSource #3*
EnvSourceReference
  * LocalObjectReference #1
  optional bool #2*
EnvFromSource
  configMapRef EnvSourceReference #2*
  prefix string #1
  secretRef EnvSourceReference #3*
ExecAction
  command []string #1
HTTPHeader
  name! string #1
  value string #2
HTTPGetAction
  host string #3
  httpHeaders []HTTPHeader #5
  path string default="/" #1
  port! intstr #2
  scheme string enum=HTTP|HTTPS default=HTTP #4
TCPSocketAction
  host string #2
  port! intstr #1
GRPCAction
  port! int min=1 max=65535 #1
  service string default="" #2*
SleepAction
  seconds! int #1
LifecycleHandler
  exec ExecAction #1*
  httpGet HTTPGetAction #2*
  sleep SleepAction #4*
  tcpSocket TCPSocketAction #3*
Lifecycle
  postStart LifecycleHandler #1*
  preStop LifecycleHandler #2*
  stopSignal string #3*
ProbeHandler
  exec ExecAction #1*
  grpc GRPCAction #4*
  httpGet HTTPGetAction #2*
  tcpSocket TCPSocketAction #3*
Probe
  * ProbeHandler #1
  failureThreshold int min=1 default=3 #6
  initialDelaySeconds int min=0 #2
  periodSeconds int min=1 default=10 #4
  successThreshold int min=1 default=1 #5
  terminationGracePeriodSeconds int #7*
  timeoutSeconds int min=1 default=1 #3
ResourceRequirements
  claims []object key=name #3
  limits map[quantity] #1
  requests map[quantity] #2
VolumeMount
  mountPath! string #3
  mountPropagation string #5*
  name! string #1
  readOnly bool #2
  recursiveReadOnly string #7*
  subPath string #4
  subPathExpr string #6
VolumeDevice
  devicePath! string #2
  name! string #1
Container
  args []string #4
  command []string #3
  env []EnvVar key=name #7
  envFrom []EnvFromSource #19
  image string #2
  imagePullPolicy string enum=Always|IfNotPresent|Never #14
  lifecycle Lifecycle #12*
  livenessProbe Probe #10*
  name! string #1
  ports []ContainerPort key=containerPort keys=containerPort,protocol #6
  readinessProbe Probe #11*
  resizePolicy []object #23
  resources ResourceRequirements default={} #8
  restartPolicy string #24*
  restartPolicyRules []object #25
  securityContext SecurityContext #15*
  startupProbe Probe #22*
  stdin bool #16
  stdinOnce bool #17
  terminationMessagePath string default=/dev/termination-log #13
  terminationMessagePolicy string enum=File|FallbackToLogsOnError default=File #20
  tty bool #18
  volumeDevices []VolumeDevice key=devicePath #21
  volumeMounts []VolumeMount key=mountPath #9
  workingDir string #5
KeyToPath
  key! string #1
  mode int #3*
  path! string #2
ConfigMapVolumeSource
  * LocalObjectReference #1
  defaultMode int default=420 #3*
  items []KeyToPath #2
  optional bool #4*
SecretVolumeSource
  defaultMode int default=420 #3*
  items []KeyToPath #2
  optional bool #4*
  secretName string #1
EmptyDirVolumeSource
  medium string #1
  sizeLimit quantity #2*
HostPathVolumeSource
  path! string #1
  type string default="" #2*
DownwardAPIVolumeSource
  defaultMode int default=420 #2*
  items []object #1
ProjectedVolumeSource
  defaultMode int default=420 #2*
  sources []object #1
VolumeSource
  configMap ConfigMapVolumeSource #19*
  csi object #28*
  downwardAPI DownwardAPIVolumeSource #16*
  emptyDir EmptyDirVolumeSource #2*
  ephemeral object #29*
  hostPath HostPathVolumeSource #1*
  image object #30*
  nfs object #7*
  persistentVolumeClaim object #10*
  projected ProjectedVolumeSource #26*
  secret SecretVolumeSource #6*
Volume
  * VolumeSource #2
  name! string #1
PodIP
  ip! string #1
PodCondition
  type! string #1
  status! string enum=True|False|Unknown #2
  lastProbeTime time #3
  lastTransitionTime time #4
  message string #6
  observedGeneration int #7
  reason string #5
ContainerStateWaiting
  message string #2
  reason string #1
ContainerStateRunning
  startedAt time #1
ContainerStateTerminated
  containerID string #7
  exitCode! int #1
  finishedAt time #6
  message string #4
  reason string #3
  signal int #2
  startedAt time #5
ContainerState
  running ContainerStateRunning #2*
  terminated ContainerStateTerminated #3*
  waiting ContainerStateWaiting #1*
ContainerStatus
  allocatedResources map[quantity] #10
  allocatedResourcesStatus []object #14
  containerID string #8
  image string #6
  imageID string #7
  lastState ContainerState #3
  name! string #1
  ready bool #4
  resources ResourceRequirements #11*
  restartCount int #5
  started bool #9*
  state ContainerState #2
  stopSignal string #15*
  user object #13*
  volumeMounts []object #12
PodStatus
  conditions []PodCondition key=type #2
  containerStatuses []ContainerStatus #8
  ephemeralContainerStatuses []ContainerStatus #13
  extendedResourceClaimStatus object #18*
  hostIP string #5
  hostIPs []PodIP atomic #16
  initContainerStatuses []ContainerStatus #10
  message string #3
  nominatedNodeName string #11
  observedGeneration int #17
  phase string enum=Pending|Running|Succeeded|Failed|Unknown #1
  podIP string #6
  podIPs []PodIP key=ip #12
  qosClass string #9
  reason string #4
  resize string #14
  resourceClaimStatuses []object key=name #15
  startTime time #7*
"""
