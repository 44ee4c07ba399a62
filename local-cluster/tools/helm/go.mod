// Builds Helm; pins only, no Go code of our own.
module finetune-operator.local/tools/helm

go 1.26.0

require helm.sh/helm/v4 v4.3.1

tool helm.sh/helm/v4/cmd/helm
