{{- define "matih-service.service" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "matih-service.fullname" . }}
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "matih-service.labels" . | nindent 4 }}
spec:
  type: ClusterIP
  selector:
    {{- include "matih-service.selectorLabels" . | nindent 4 }}
  ports:
    - name: http
      port: {{ .Values.service.port }}
      targetPort: http
{{- end -}}
