"""Types of ``meta.k8s.io/v1`` that every kind uses."""

PACKAGE = "io.k8s.apimachinery.pkg.apis.meta.v1"

TYPES = """
OwnerReference
  apiVersion! string #5
  kind! string #1
  name! string #3
  uid! string #4
  controller bool #6*
  blockOwnerDeletion bool #7*
ManagedFieldsEntry
  manager string #1
  operation string #2
  apiVersion string #3
  time time #4*
  fieldsType string #6
  fieldsV1 raw #7*
  subresource string #8
ObjectMeta
  name string #1
  generateName string #2
  namespace string #3
  selfLink string #4
  uid string #5
  resourceVersion string #6
  generation int #7
  creationTimestamp time #8
  deletionTimestamp time #9*
  deletionGracePeriodSeconds int #10*
  labels map[string] #11
  annotations map[string] #12
  ownerReferences []OwnerReference key=uid #13
  finalizers []string set #14
  managedFields []ManagedFieldsEntry atomic #17
LabelSelectorRequirement
  key! string #1
  operator! string enum=In|NotIn|Exists|DoesNotExist #2
  values []string #3
LabelSelector
  matchLabels map[string] #1
  matchExpressions []LabelSelectorRequirement #2
Condition
  type! string #1
  status! string enum=True|False|Unknown #2
  observedGeneration int #3
  lastTransitionTime time #4
  reason string #5
  message string #6
"""
