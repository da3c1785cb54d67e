"""Types of ``meta.k8s.io/v1`` that every kind uses."""

PACKAGE = "io.k8s.apimachinery.pkg.apis.meta.v1"

TYPES = """
OwnerReference
  apiVersion! string
  kind! string
  name! string
  uid! string
  controller bool
  blockOwnerDeletion bool
ManagedFieldsEntry
  manager string
  operation string
  apiVersion string
  time time
  fieldsType string
  fieldsV1 object
  subresource string
ObjectMeta
  name string
  generateName string
  namespace string
  selfLink string
  uid string
  resourceVersion string
  generation int
  creationTimestamp time
  deletionTimestamp time
  deletionGracePeriodSeconds int
  labels map[string]
  annotations map[string]
  ownerReferences []OwnerReference key=uid
  finalizers []string set
  managedFields []ManagedFieldsEntry atomic
LabelSelectorRequirement
  key! string
  operator! string enum=In|NotIn|Exists|DoesNotExist
  values []string
LabelSelector
  matchLabels map[string]
  matchExpressions []LabelSelectorRequirement
Condition
  type! string
  status! string enum=True|False|Unknown
  observedGeneration int
  lastTransitionTime time
  reason string
  message string
"""
