{{/*
What is recorded and alerted on: PromQL, where names in percent signs stand for what Prometheus fills in (%field%, %value%).
Every selector keeps to the watched namespaces, so that two releases under one Prometheus never alert on the same twice.
*/}}

{{/* The matcher of the watched namespaces. */}}
{{- define "finetune-operator.watched" -}}
{{- $names := include "finetune-operator.namespaces" . | fromJsonArray -}}
{{- if $names -}}namespace=~{{ $names | join "|" | quote }}{{- else -}}namespace!=""{{- end -}}
{{- end -}}

{{/* The labels of a version that is served somewhere, and those of a Deployment. */}}
{{- define "finetune-operator.by" -}}namespace, deployment, model, version{{- end -}}
{{- define "finetune-operator.at" -}}namespace, deployment{{- end -}}

{{/* The matchers of an override, beside the watched namespaces: of a field, a Deployment, a namespace, where it names them. */}}
{{- define "finetune-operator.override" -}}
{{- range $label := list "namespace" "deployment" "field" -}}
{{- with index $.override $label -}}, {{ $label }}={{ . | quote }}{{- end -}}
{{- end -}}
{{- end -}}

{{/* What is recorded of one window: always of 30m, which a new version is watched by, and of each alert's own. */}}
{{- define "finetune-operator.recorded.detected" -}}
{{- $in := include "finetune-operator.watched" .root -}}
{{- $by := include "finetune-operator.by" . -}}
{{- $expected := printf "namespace_deployment_version_field:finetune_field_expected:increase%s" .window -}}
- record: {{ $expected }}
  expr: sum by ({{ $by }}, field) (increase(finetune_field_expected_total{ {{- $in -}} }[{{ .window }}]))
# A field without a series of its detections was never detected.
- record: namespace_deployment_version_field:finetune_field_detected:ratio_rate{{ .window }}
  expr: |-
    (
      sum by ({{ $by }}, field) (increase(finetune_field_detected_total{ {{- $in -}} }[{{ .window }}]))
      or
      {{ $expected }}{ {{- $in -}} } * 0
    )
    / ({{ $expected }}{ {{- $in -}} } > 0)
{{- end -}}

{{- define "finetune-operator.recorded.confidence" -}}
{{- $in := include "finetune-operator.watched" .root -}}
{{- $by := include "finetune-operator.by" . -}}
{{- $count := printf "namespace_deployment_version:finetune_detection_confidence_count:increase%s" .window -}}
- record: {{ $count }}
  expr: sum by ({{ $by }}) (increase(finetune_detection_confidence_count{ {{- $in -}} }[{{ .window }}]))
- record: namespace_deployment_version:finetune_detection_confidence:mean{{ .window }}
  expr: |-
    sum by ({{ $by }}) (increase(finetune_detection_confidence_sum{ {{- $in -}} }[{{ .window }}]))
    / ({{ $count }}{ {{- $in -}} } > 0)
{{- end -}}

{{- define "finetune-operator.recorded.duration" -}}
{{- $in := include "finetune-operator.watched" .root -}}
{{- $by := include "finetune-operator.by" . -}}
{{- $count := printf "namespace_deployment_version:finetune_inference_duration_seconds_count:increase%s" .window -}}
- record: {{ $count }}
  expr: sum by ({{ $by }}) (increase(finetune_inference_duration_seconds_count{ {{- $in -}}, stage="inference"}[{{ .window }}]))
- record: namespace_deployment_version:finetune_inference_duration_seconds:p95_{{ .window }}
  expr: |-
    histogram_quantile(
      0.95,
      sum by ({{ $by }}, le) (rate(finetune_inference_duration_seconds_bucket{ {{- $in -}}, stage="inference"}[{{ .window }}]))
    )
    and {{ $count }}{ {{- $in -}} } > 0
{{- end -}}

{{- define "finetune-operator.serving-records" -}}
{{- $ := . -}}
{{- $at := include "finetune-operator.at" . -}}
{{- $rule := .Values.prometheusRule -}}
{{- $in := include "finetune-operator.watched" . -}}
{{- $by := include "finetune-operator.by" . -}}
{{- range $window := list "30m" $rule.fieldDetectionRate.window | uniq }}
{{ include "finetune-operator.recorded.detected" (dict "root" $ "window" $window) }}
{{- end }}
{{- range $window := list "30m" $rule.confidence.window | uniq }}
{{ include "finetune-operator.recorded.confidence" (dict "root" $ "window" $window) }}
{{- end }}
{{- range $window := list "30m" $rule.inferenceDuration.window $rule.inferenceDuration.shortWindow | uniq }}
{{ include "finetune-operator.recorded.duration" (dict "root" $ "window" $window) }}
{{- end }}
- record: namespace_deployment_version:finetune_documents:increase30m
  expr: sum by ({{ $by }}) (increase(finetune_documents_total{ {{- $in -}} }[30m]))
# What the share of each field is held against: the first override that names it, else the minimum.
{{- $expected := printf "namespace_deployment_version_field:finetune_field_expected:increase%s" $rule.fieldDetectionRate.window }}
- record: namespace_deployment_version_field:finetune_field_detected:threshold
  expr: |-
    {{- range $rule.fieldDetectionRate.overrides }}
    {{ $expected }}{ {{- $in }}{{ include "finetune-operator.override" (dict "override" .) }}} * 0 + {{ .minimum }}
    or
    {{- end }}
    {{ $expected }}{ {{- $in -}} } * 0 + {{ $rule.fieldDetectionRate.minimum }}
# How long the base takes here, by the last day that it served; kept for as long as a fine-tune serves in its place.
{{- $p95 := "namespace_deployment_version:finetune_inference_duration_seconds:p95_30m" }}
{{- $pages := "namespace_deployment_version:finetune_inference_duration_seconds_count:increase30m" }}
- record: namespace_deployment:finetune_inference_duration_seconds:base_p95
  expr: |-
    max by ({{ $at }}) (
      avg_over_time({{ $p95 }}{ {{- $in -}}, version=~"base_v.+"}[1d])
      and {{ $pages }}{ {{- $in -}}, version=~"base_v.+"} >= {{ $rule.inferenceDuration.minimumCount }}
    )
    or
    last_over_time(namespace_deployment:finetune_inference_duration_seconds:base_p95{ {{- $in -}} }[1d])
# What a served version's duration is held against: what somebody knows, what its base took here, what it took when measured.
- record: namespace_deployment_version:finetune_inference_duration_seconds:baseline
  expr: |-
    {{- range $rule.inferenceDuration.baselines }}
    max by ({{ $by }}) (present_over_time(finetune_model_info{ {{- $in }}{{ include "finetune-operator.override" (dict "override" .) }}}[10m])) * 0 + {{ .seconds }}
    or
    {{- end }}
    max by ({{ $by }}) (present_over_time(finetune_model_info{ {{- $in -}} }[10m]))
    * on ({{ $at }}) group_left () namespace_deployment:finetune_inference_duration_seconds:base_p95{ {{- $in -}} }
    or
    max by ({{ $by }}) (finetune_baseline_inference_duration_seconds{ {{- $in -}} }) > 0
# How sure a version was when it was measured: on documents of production, where these were enough, else on the test set.
- record: namespace_deployment_version:finetune_detection_confidence:baseline
  expr: |-
    (
      max by ({{ $by }}) (finetune_baseline_confidence{ {{- $in -}}, source="production"})
      or
      max by ({{ $by }}) (finetune_baseline_confidence{ {{- $in -}} })
    ) > 0
# The lines of the alerts below, of what is live and of what flies: a watch by series goes by them.
- record: namespace_deployment_version:finetune_detection_confidence:threshold
  expr: namespace_deployment_version:finetune_detection_confidence:baseline{ {{- $in -}} } * (1 - {{ $rule.confidence.maximumDrop }})
- record: namespace_deployment_version:finetune_inference_duration_seconds:threshold
  expr: namespace_deployment_version:finetune_inference_duration_seconds:baseline{ {{- $in -}} } * {{ $rule.inferenceDuration.maximumRatio }}
{{- end -}}

{{- define "finetune-operator.serving-alerts" -}}
{{- $rule := .Values.prometheusRule -}}
{{- $in := include "finetune-operator.watched" . -}}
{{- $by := include "finetune-operator.by" . -}}
{{- $at := include "finetune-operator.at" . }}
# A version that nobody serves any more has counts left in the window: only what a pod says it loaded is alerted on.
- alert: FinetuneFieldDetectionRateLow
  expr: |-
    namespace_deployment_version_field:finetune_field_detected:ratio_rate{{ $rule.fieldDetectionRate.window }}{ {{- $in -}} }
      < namespace_deployment_version_field:finetune_field_detected:threshold{ {{- $in -}} }
    and namespace_deployment_version_field:finetune_field_expected:increase{{ $rule.fieldDetectionRate.window }}{ {{- $in -}} } >= {{ $rule.fieldDetectionRate.minimumCount }}
    and on ({{ $by }}) max by ({{ $by }}) (present_over_time(finetune_model_info{ {{- $in -}} }[10m]))
  for: {{ $rule.fieldDetectionRate.for }}
  labels: {severity: critical}
  annotations:
    summary: Field %field% is found too rarely by %version% on %namespace%/%deployment%
    description: >-
      %version% of %model% found field %field% on %percent% of the pages or documents that should carry it, over
      {{ $rule.fieldDetectionRate.window }}.
- alert: FinetuneConfidenceDropped
  expr: |-
    1 - namespace_deployment_version:finetune_detection_confidence:mean{{ $rule.confidence.window }}{ {{- $in -}} }
      / namespace_deployment_version:finetune_detection_confidence:baseline{ {{- $in -}} }
      > {{ $rule.confidence.maximumDrop }}
    and namespace_deployment_version:finetune_detection_confidence_count:increase{{ $rule.confidence.window }}{ {{- $in -}} } >= {{ $rule.confidence.minimumCount }}
  for: {{ $rule.confidence.for }}
  labels: {severity: warning}
  annotations:
    summary: "%version% on %namespace%/%deployment% is less sure than when it was measured"
    description: >-
      The mean confidence of %version% of %model% is %percent% below what it was when it was measured, over
      {{ $rule.confidence.window }}.
# Weeks come from the operator: what Prometheus keeps is rarely four of them.
- alert: FinetuneUserReportedFailuresRising
  expr: |-
    {{- range $week := until 3 }}
    {{- $newer := printf "max by (%s) (finetune_feedback_weekly{%s, weeks_ago=\"%d\"})" $at $in (add1 $week) }}
    {{- $older := printf "max by (%s) (finetune_feedback_weekly{%s, weeks_ago=\"%d\"})" $at $in (add $week 2) }}
    {{ if $week }}and {{ end }}{{ $newer }} > {{ $older }}
    {{- end }}
    and max by ({{ $at }}) (finetune_feedback_weekly{ {{- $in -}}, weeks_ago="1"}) >= {{ $rule.userReports.minimumCount }}
  for: {{ $rule.userReports.for }}
  labels: {severity: warning}
  annotations:
    summary: More documents of %namespace%/%deployment% are reported as read wrongly every week
    description: "%value% documents were reported last week; the number rose three weeks in a row."
# Two minutes of slow pages are more than a twentieth of the window for as long as it lasts: they must be slow now, too.
- alert: FinetuneInferenceLatencyHigh
  expr: |-
    {{- $baseline := printf "namespace_deployment_version:finetune_inference_duration_seconds:baseline{%s}" $in }}
    namespace_deployment_version:finetune_inference_duration_seconds:p95_{{ $rule.inferenceDuration.window }}{ {{- $in -}} }
      / {{ $baseline }}
      > {{ $rule.inferenceDuration.maximumRatio }}
    and
      namespace_deployment_version:finetune_inference_duration_seconds:p95_{{ $rule.inferenceDuration.shortWindow }}{ {{- $in -}} }
      / {{ $baseline }}
      > {{ $rule.inferenceDuration.maximumRatio }}
    and namespace_deployment_version:finetune_inference_duration_seconds_count:increase{{ $rule.inferenceDuration.window }}{ {{- $in -}} } >= {{ $rule.inferenceDuration.minimumCount }}
  for: {{ $rule.inferenceDuration.for }}
  labels: {severity: critical}
  annotations:
    summary: "%version% on %namespace%/%deployment% needs much longer for a page than its base did"
    description: >-
      The 95th percentile of the model's own time is %value% times that of the base of %version%, over
      {{ $rule.inferenceDuration.window }}.
# The alerts above are silent where nothing is scraped.
- alert: FinetuneServingMetricsAbsent
  expr: |-
    max by ({{ $by }}) (finetune_live_info{ {{- $in -}} })
    unless on ({{ $at }}) max by ({{ $at }}) (finetune_documents_total{ {{- $in -}} })
  for: {{ $rule.servingMetrics.for }}
  labels: {severity: warning}
  annotations:
    summary: Nothing is scraped of the pods of %namespace%/%deployment%
    description: "%version% is live there, and no pod says what it answers: the alerts on detection, confidence and latency cannot fire."
{{- end -}}

{{- define "finetune-operator.operator-alerts" -}}
{{- $rule := .Values.prometheusRule -}}
{{- $in := include "finetune-operator.watched" . -}}
{{- $at := include "finetune-operator.at" . -}}
{{- $interval := printf "max by (%s) (finetune_scan_interval_seconds{%s})" $at $in -}}
{{- $scanned := printf "max by (%s) (finetune_scanned_since_timestamp_seconds{%s})" $at $in -}}
{{- $watch := printf "max by (%s) (finetune_watch_seconds{%s})" $at $in }}
- alert: FinetuneScanStale
  expr: |-
    time() - {{ $scanned }} > {{ $rule.scan.maximumIntervals }} * {{ $interval }}
    or
    {{ $interval }} unless {{ $scanned }}
  for: {{ $rule.scan.for }}
  labels: {severity: warning}
  annotations:
    summary: Pool and captured pages of %namespace%/%deployment% are not counted any more
    description: >-
      No scan came to its end for more than {{ $rule.scan.maximumIntervals }} intervals, or none ever did: triggers do not fire, and
      pages past their time are not removed.
- alert: FinetuneReviewWaiting
  expr: time() - min by ({{ $at }}) (finetune_review_since_timestamp_seconds{ {{- $in -}} }) > {{ $rule.review.maximumSeconds }}
  for: {{ $rule.review.for }}
  labels: {severity: warning}
  annotations:
    summary: A run of %namespace%/%deployment% waits for a person's decision
    description: Its review has waited for %duration%; when its time is over it expires, and nothing is promoted.
- alert: FinetunePromotionStuck
  expr: |-
    time() - max by ({{ $at }}) (finetune_flight_phase_since_timestamp_seconds{ {{- $in -}} }) > {{ $rule.promotion.maximumSeconds }} + {{ $watch }}
    or
    time() - min by ({{ $at }}) (finetune_promotion_pending_since_timestamp_seconds{ {{- $in -}} }) > {{ $rule.promotion.maximumSeconds }} + {{ $watch }}
    unless max by ({{ $at }}) (finetune_policy_held{ {{- $in -}}, reason="RolledBack"}) == 1
    unless max by ({{ $at }}) (finetune_policy_suspended{ {{- $in -}} }) == 1
  for: {{ $rule.promotion.for }}
  labels: {severity: warning}
  annotations:
    summary: A promotion of %namespace%/%deployment% does not get further
    description: It has waited, or been in one phase of its flight, for %duration%.
- alert: FinetuneRolledBack
  expr: max by ({{ $at }}) (finetune_policy_held{ {{- $in -}}, reason="RolledBack"}) == 1
  for: {{ $rule.rolledBack.for }}
  labels: {severity: warning}
  annotations:
    summary: "%namespace%/%deployment% was rolled back, and holds"
    description: A version did not get well in production. What was good before serves again; nothing is promoted until a person lifts the hold.
# The counter has no Deployment: a policy says which ones serve the model.
- alert: FinetuneGateError
  expr: |-
    max by ({{ $at }}, model) (finetune_policy_info{ {{- $in -}} })
    * on (namespace, model) group_left ()
      sum by (namespace, model) (increase(finetune_verdicts_total{ {{- $in -}}, verdict="Error"}[{{ $rule.gateError.window }}]))
    > 0
  for: {{ $rule.gateError.for }}
  labels: {severity: warning}
  annotations:
    summary: A run of %model% could not be judged
    description: What was measured for %namespace%/%deployment% is no evidence, so the gates said Error. Nothing was promoted.
- alert: FinetuneOperatorDown
  expr: |-
    {{- range $number, $name := include "finetune-operator.namespaces" . | fromJsonArray | default (list "*") }}
    {{ if $number }}or {{ end }}absent(finetune_namespace_watched{namespace={{ $name | quote }}})
    or max by (namespace) (finetune_namespace_watched{namespace={{ $name | quote }}}) == 0
    {{- end }}
  for: {{ $rule.operator.for }}
  labels: {severity: critical}
  annotations:
    summary: No operator watches namespace %namespace%
    description: It is down, is not scraped, or cannot read the namespace. What is served stays served; nothing is trained, promoted or rolled back.
{{- end -}}
