{{- define "finetune-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "finetune-operator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "finetune-operator.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "finetune-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "finetune-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "finetune-operator.labels" -}}
{{ include "finetune-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "finetune-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "finetune-operator.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is needed when serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "finetune-operator.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The watched namespaces as a JSON list; empty when the whole cluster is watched. */}}
{{- define "finetune-operator.namespaces" -}}
{{- $names := .Values.watchNamespaces | default list -}}
{{- range $name, $wanted := .Values.watch -}}
{{- $names = ternary (append $names $name) (without $names $name) $wanted -}}
{{- end -}}
{{- if .Values.clusterWide -}}
{{- if $names -}}
{{- fail "clusterWide watches every namespace: leave watchNamespaces and watch empty" -}}
{{- end -}}
[]
{{- else -}}
{{- default (list .Release.Namespace) $names | uniq | sortAlpha | toJson -}}
{{- end -}}
{{- end -}}

{{/* Rules of one role: operator, view, edit or admin. files/rights.yaml is made from the operator's table of kinds. */}}
{{- define "finetune-operator.rules" -}}
{{- index (.root.Files.Get "files/rights.yaml" | fromYaml) .role | toYaml -}}
{{- end -}}
