//! The machine, and what processes take of it, as Linux says.

use std::fs;

use sqlx::PgPool;

/// Seconds of CPU that a process has used, with those of its children that have ended.
pub fn cpu_seconds(pid: u32) -> f64 {
    let Some(fields) = stat(pid) else { return 0.0 };
    // utime, stime, cutime, cstime: fields 14 to 17 of proc(5), in ticks of which Linux has 100 a second.
    fields.iter().skip(11).take(4).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// As [`cpu_seconds`], for a process and its living children (a Postgres server and its backends).
pub fn cpu_seconds_with_children(pid: u32) -> f64 {
    let children = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
        let child: u32 = entry.file_name().to_str()?.parse().ok()?;
        (parent(child) == Some(pid)).then_some(child)
    });
    cpu_seconds(pid) + children.map(cpu_seconds).sum::<f64>()
}

/// A process's parent.
pub fn parent(pid: u32) -> Option<u32> {
    stat(pid)?.get(1)?.parse().ok()
}

/// The fields after the name, which may hold blanks: the first is the third of proc(5).
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

/// Megabytes that a process holds in memory.
pub fn resident_mb(pid: u32) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
}

/// Cores, memory, processor and kernel, in words.
pub fn described() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let line = |file: &str, key: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines()
            .find_map(|line| {
                line.strip_prefix(key).map(|rest| rest.trim_matches([' ', ':', '\t']).to_owned())
            })
            .unwrap_or_default()
    };
    let memory = line("/proc/meminfo", "MemTotal:").replace(" kB", "").parse::<f64>().unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let model = line("/proc/cpuinfo", "model name");
    format!("{cores} cores, {:.0} GiB, {model}, Linux {}", memory / 1024.0 / 1024.0, kernel.trim())
}

/// The load of the last minute: what else the machine is doing.
pub fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or_default().to_owned()
}

/// The server process behind this pool, if it runs on this machine.
pub async fn postmaster(pool: &PgPool) -> Option<u32> {
    let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(pool).await.ok()?;
    parent(u32::try_from(backend).ok()?)
}
