{{/* Labels that select one part of this release: dict "root" $ "part" "router". */}}
{{- define "hearth.selector" -}}
app.kubernetes.io/name: hearth-{{ .part }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{/* Labels of every object. */}}
{{- define "hearth.labels" -}}
{{ include "hearth.selector" . }}
app.kubernetes.io/part-of: hearth
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}

{{- define "hearth.secret" -}}
{{ .Values.existingSecret | default (printf "%s-secrets" .Release.Name) }}
{{- end }}

{{- define "hearth.redis" -}}
{{ .Values.redis.address | default (printf "%s-redis:6379" .Release.Name) }}
{{- end }}

{{/* Of the pod; what Pod Security calls restricted. */}}
{{- define "hearth.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "hearth.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Over zones, then machines, as far as that can be. */}}
{{- define "hearth.spread" -}}
{{- $selector := include "hearth.selector" . }}
{{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
- topologyKey: {{ . }}
  maxSkew: 1
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- $selector | nindent 6 }}
{{- end }}
{{- end }}

{{/* Settings of the router: the chart's, and over them the user's. */}}
{{- define "hearth.routerConfig" -}}
{{- $own := dict "listen" "0.0.0.0:8080" "admin_listen" "127.0.0.1:8081" "cluster" .Values.cluster "log_json" true -}}
{{- $_ := set $own "redis" (include "hearth.redis" .) -}}
{{- $_ := set $own "session_secret_file" "/etc/hearth-secrets/session-secret" -}}
{{- $_ := set $own "fleet_secret_file" "/etc/hearth-secrets/fleet-secret" -}}
{{- $_ := set $own "drain_delay_ms" (printf "%ds" (int .Values.router.drainDelaySeconds)) -}}
{{- $_ := set $own "drain_grace_ms" (printf "%ds" (int .Values.router.drainGraceSeconds)) -}}
{{ mergeOverwrite $own (deepCopy .Values.router.config) | toYaml }}
{{- end }}

{{- define "hearth.cachenodeConfig" -}}
{{- $own := dict "listen" "0.0.0.0:8101" "cluster" .Values.cluster "log_json" true -}}
{{- $_ := set $own "model_path" "/var/lib/hearth/model" -}}
{{- $_ := set $own "kv_disk" "/var/lib/hearth/kv" -}}
{{- $_ := set $own "redis" (include "hearth.redis" .) -}}
{{- $_ := set $own "fleet_secret_file" "/etc/hearth-secrets/fleet-secret" -}}
{{- $_ := set $own "drain_grace_ms" "60s" -}}
{{ mergeOverwrite $own (deepCopy .Values.cachenode.config) | toYaml }}
{{- end }}
