{{- define "grafana.fullname" -}}
{{- default .Release.Name .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* What selects the pods. Immutable in a Deployment, so nothing that may change belongs here. */}}
{{- define "grafana.selectorLabels" -}}
app.kubernetes.io/name: grafana
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "grafana.labels" -}}
{{ include "grafana.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- with .Values.extraLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* A sidecar that writes what it finds under a label into a folder: (list root name settings folder). */}}
{{- define "grafana.sidecar" -}}
{{- $root := index . 0 }}{{ $name := index . 1 }}{{ $picks := index . 2 }}{{ $folder := index . 3 }}
- name: {{ $name }}
  image: {{ printf "%s:%s" $root.Values.sidecar.image.repository $root.Values.sidecar.image.tag | quote }}
  env:
    - {name: METHOD, value: WATCH}
    - {name: LABEL, value: {{ $picks.label | quote }}}
    - {name: LABEL_VALUE, value: {{ $picks.labelValue | quote }}}
    - {name: FOLDER, value: {{ $folder }}}
    - {name: RESOURCE, value: configmap}
    - {name: NAMESPACE, value: {{ default $root.Release.Namespace $picks.searchNamespace | quote }}}
  resources:
    {{- toYaml $root.Values.sidecar.resources | nindent 4 }}
  securityContext:
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities: {drop: [ALL]}
  volumeMounts:
    - {name: picked-up, mountPath: {{ $folder }}, subPath: {{ $name }}}
{{- end -}}
