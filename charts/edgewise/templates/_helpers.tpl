{{- define "edgewise.labels" -}}
app.kubernetes.io/name: edgewise
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: edgewise
{{- end }}

{{- define "edgewise.selector" -}}
app.kubernetes.io/name: edgewise
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
