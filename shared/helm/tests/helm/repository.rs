//! A chart repository with one chart, `slow`: a ConfigMap with the value `text`, and a hook at the moments that the
//! value `hang` names, which never ends (its pod fits no node), so that helm can be met in the middle of its work.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const CHART: &str = "apiVersion: v2\nname: slow\nversion: 0.1.0\n";
const TEMPLATE: &str = r"
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}
data:
  text: {{ .Values.text | quote }}
{{- if .Values.extra }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-extra
{{- end }}
{{- with .Values.hang }}
---
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ $.Release.Name }}-hook
  annotations:
    helm.sh/hook: {{ . }}
    helm.sh/hook-delete-policy: before-hook-creation
spec:
  template:
    spec:
      nodeSelector: { there-is: no-such-node }
      restartPolicy: Never
      containers: [{ name: never, image: never }]
{{- end }}
";

/// Served until dropped.
pub struct Repository {
    pub url: String,
    serving: tokio::task::JoinHandle<()>,
    _folder: TempDir,
}

impl Repository {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let chart = folder.path().join("slow");
        std::fs::create_dir_all(chart.join("templates")).unwrap();
        std::fs::write(chart.join("Chart.yaml"), CHART).unwrap();
        std::fs::write(chart.join("templates/all.yaml"), TEMPLATE).unwrap();
        helm(folder.path(), &["package", "slow", "--destination", "."]);
        helm(folder.path(), &["repo", "index", ".", "--url", &url]);
        let serving = tokio::spawn(serve(listener, folder.path().to_owned()));
        Self { url, serving, _folder: folder }
    }
}

impl Drop for Repository {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn helm(folder: &Path, arguments: &[&str]) {
    let done = Command::new("helm").args(arguments).current_dir(folder).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

async fn serve(listener: TcpListener, folder: PathBuf) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut request = vec![0; 4096];
        let Ok(read) = stream.read(&mut request).await else { continue };
        let line = String::from_utf8_lossy(&request[..read]).into_owned();
        let path = line.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
        let (status, body) = match std::fs::read(folder.join(path)) {
            Ok(body) => ("200 OK", body),
            Err(_) => ("404 Not Found", Vec::new()),
        };
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        drop(stream.write_all(head.as_bytes()).await);
        drop(stream.write_all(&body).await);
    }
}
