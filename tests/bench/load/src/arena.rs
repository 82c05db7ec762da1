//! The two servers, each with a folder and a port of its own, started for one case and gone after it: the gateway and nginx, or two
//! gateways.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::measure::Side;
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

    /// Stands still, so that nothing of it is in what is measured of another, until it is resumed.
    pub fn pause(&self) -> Result<()> {
        self.signal("-STOP")
    }

    pub fn resume(&self) -> Result<()> {
        self.signal("-CONT")
    }

    fn signal(&self, signal: &str) -> Result<()> {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status()?;
        if sent.success() { Ok(()) } else { Err(format!("a server does not take {signal}").into()) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // nginx's master ends its workers on SIGTERM alone, and the gateway drains; one that stands still does not hear it.
        let _ = self.signal("-TERM").and_then(|()| self.resume());
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
    folder: Folder,
}

/// Two gateways of the same binary, that differ in their settings or in what they have been through.
pub struct Gateways {
    pub ours: Server,
    pub theirs: Server,
    folder: Folder,
}

/// What the servers have of files. It goes when they have gone.
struct Folder(PathBuf);

/// What lies where.
#[derive(Debug, Clone, Copy)]
pub enum Place {
    Disk,
    Tmpfs,
}

impl Arena {
    /// Starts both with fresh folders. `settings` are the gateway's, over those of the configuration file.
    pub fn start(options: &Options, place: Place, settings: &[&str]) -> Result<Self> {
        let folder = Folder::create(options, place)?;
        let nginx = start_nginx(&folder.0)?;
        let gateway = start_gateway(options, &folder.0.join("gateway"), settings)?;
        Ok(Self { gateway, nginx, folder })
    }

    /// Where nginx puts and finds files.
    pub fn nginx_root(&self) -> PathBuf {
        self.folder.0.join("nginx/root")
    }

    /// Where the gateway puts the files of dialect C.
    pub fn societes(&self) -> PathBuf {
        self.folder.0.join("gateway/files")
    }
}

impl Gateways {
    /// Starts both with fresh folders and with settings of their own.
    pub fn start(options: &Options, place: Place, ours: &[&str], theirs: &[&str]) -> Result<Self> {
        let folder = Folder::create(options, place)?;
        let ours = start_gateway(options, &folder.0.join("ours"), ours)?;
        let theirs = start_gateway(options, &folder.0.join("theirs"), theirs)?;
        Ok(Self { ours, theirs, folder })
    }

    /// The one whose turn it is, and the other.
    pub fn turn(&self, side: Side) -> (&Server, &Server) {
        match side {
            Side::Ours => (&self.ours, &self.theirs),
            Side::Theirs => (&self.theirs, &self.ours),
        }
    }

    /// Where one of them puts the files of dialect C.
    pub fn societes(&self, side: Side) -> PathBuf {
        self.folder.0.join(name(side)).join("files")
    }

    /// What one of them has logged.
    pub fn log(&self, side: Side) -> Result<String> {
        Ok(fs::read_to_string(self.folder.0.join(name(side)).with_extension("log"))?)
    }
}

fn name(side: Side) -> &'static str {
    match side {
        Side::Ours => "ours",
        Side::Theirs => "theirs",
    }
}

impl Folder {
    fn create(options: &Options, place: Place) -> Result<Self> {
        let parent = match place {
            Place::Disk => &options.disk,
            Place::Tmpfs => &options.tmpfs,
        };
        let folder = fs::canonicalize(parent)?.join(format!("run-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn start_gateway(options: &Options, folder: &Path, settings: &[&str]) -> Result<Server> {
    fs::create_dir_all(folder)?;
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
    Server::start(&mut command, port, &folder.with_extension("log"))
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
