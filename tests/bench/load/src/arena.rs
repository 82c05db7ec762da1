//! The two servers, each with a folder and a port of its own, started for one case and gone after it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::usage::Processes;
use crate::{Options, Result};

/// How long a server may take to listen.
const START: Duration = Duration::from_secs(20);

pub struct Server {
    child: Child,
    pub address: SocketAddr,
    pub processes: Processes,
}

impl Server {
    fn start(command: &mut Command, port: u16, log: &Path) -> Result<Self> {
        let log_file = File::create(log)?;
        let mut child = command.stdin(Stdio::null()).stdout(log_file.try_clone()?).stderr(log_file).spawn()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            if child.try_wait()?.is_some() || begun.elapsed() > START {
                let _ = child.kill();
                return Err(format!("a server did not start: {}", fs::read_to_string(log)?).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let processes = Processes::of(child.id());
        Ok(Self { child, address, processes })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // nginx's master ends its workers on SIGTERM alone, and the gateway drains.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub struct Arena {
    pub gateway: Server,
    pub nginx: Server,
    folder: PathBuf,
}

/// What lies where.
#[derive(Debug, Clone, Copy)]
pub enum Place {
    Disk,
    Tmpfs,
}

impl Arena {
    /// Starts both with fresh folders. `settings` are the gateway's, over those of the configuration file.
    pub fn start(options: &Options, place: Place, settings: &[&str]) -> Result<Self> {
        let parent = match place {
            Place::Disk => &options.disk,
            Place::Tmpfs => &options.tmpfs,
        };
        let folder = fs::canonicalize(parent)?.join(format!("run-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("gateway"))?;
        let nginx = start_nginx(&folder)?;
        let gateway = start_gateway(options, &folder.join("gateway"), settings)?;
        Ok(Self { gateway, nginx, folder })
    }

    /// Where nginx puts and finds files.
    pub fn nginx_root(&self) -> PathBuf {
        self.folder.join("nginx/root")
    }

    /// Where the gateway puts the files of dialect C.
    pub fn societes(&self) -> PathBuf {
        self.folder.join("gateway/files")
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn start_gateway(options: &Options, folder: &Path, settings: &[&str]) -> Result<Server> {
    let port = free_port()?;
    let mut command = Command::new(fs::canonicalize(&options.gateway)?);
    command
        .arg("--config")
        .arg(&options.config)
        .args(settings.iter().flat_map(|setting| ["--set", setting]))
        .env("STATE_DIRECTORY", folder)
        .env("RELAY_PORT", port.to_string())
        // nginx runs without an access log too.
        .env("TIDEGATE_LOG", "warn");
    Server::start(&mut command, port, &folder.with_file_name("gateway.log"))
}

fn start_nginx(folder: &Path) -> Result<Server> {
    let folder = folder.join("nginx");
    fs::create_dir_all(folder.join("root"))?;
    let port = free_port()?;
    let path = folder.display();
    // Workers are to be able to write into our folder. For whoever is not root they are he.
    let user = if fs::metadata("/proc/self")?.uid() == 0 { "user root;" } else { "" };
    let config = format!(
        "{user}
        daemon off;
        pid {path}/pid;
        error_log {path}/error.log crit;
        worker_processes auto;
        worker_rlimit_nofile 16384;
        events {{ worker_connections 4096; multi_accept on; }}
        http {{
            access_log off;
            sendfile on;
            tcp_nopush on;
            tcp_nodelay on;
            keepalive_requests 1000000000;
            keepalive_timeout 300s;
            client_max_body_size 0;
            client_body_buffer_size 1m;
            client_body_temp_path {path}/body;
            proxy_temp_path {path}/proxy;
            fastcgi_temp_path {path}/fastcgi;
            uwsgi_temp_path {path}/uwsgi;
            scgi_temp_path {path}/scgi;
            open_file_cache max=20000 inactive=300s;
            open_file_cache_valid 300s;
            server {{
                listen 127.0.0.1:{port} reuseport;
                root {path}/root;
                location / {{
                    dav_methods PUT DELETE;
                    create_full_put_path on;
                    default_type application/octet-stream;
                }}
            }}
        }}"
    );
    fs::write(folder.join("nginx.conf"), config)?;
    let mut command = Command::new("nginx");
    command.arg("-p").arg(&folder).arg("-c").arg(folder.join("nginx.conf")).arg("-e").arg(folder.join("error.log"));
    Server::start(&mut command, port, &folder.with_file_name("nginx.log"))
}
