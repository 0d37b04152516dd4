//! The benchmark's lab: its instances boot the benchmark's image, and run the shipped agent if `make dist` has built it
//! from the current sources.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use anyhow::{Context, Result};
use lab::dir::{self, LabDir};
use lab::rig::{self, Rig};

use crate::image;
use crate::results::{Build, Conditions, Measured};

pub struct Arena {
    place: PathBuf,
    programs: PathBuf,
    build: Build,
    /// Few repetitions, to test the benchmark itself.
    pub quick: bool,
}

impl Arena {
    /// Builds the image if it is missing or outdated.
    pub fn open(quick: bool) -> Result<Arena> {
        let lab = LabDir::open()?;
        let place = results_folder(&lab)?;
        let image = image::ensure(&lab, &place)?;
        let own = place.join("lab");
        fs::create_dir_all(&own)?;
        link(&image, &own.join("image"))?;
        let same = [
            ("plain", lab.plain()),
            ("dnf", lab.dnf()),
            ("repository", lab.repository()),
            ("venv", lab.venv()),
            ("ca", lab.ca()),
        ];
        for (name, there) in same {
            link(&there, &own.join(name))?;
        }
        fs::copy(lab.root().join("image.stamp"), own.join("image.stamp"))?;
        let (programs, build) = programs(&place)?;
        Ok(Arena { place, programs, build, quick })
    }

    /// Starts a lab.
    pub fn rig(&self) -> Result<Rig> {
        Rig::up_with(LabDir::at(self.place.join("lab"))?, self.programs.clone())
    }

    /// The folder of the results.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// The number of repetitions: `wanted`, or one if [`Arena::quick`].
    pub fn times(&self, wanted: usize) -> usize {
        if self.quick { 1 } else { wanted }
    }

    /// Runs a section and notes its conditions.
    pub fn measure<T>(&self, section: impl FnOnce() -> Result<T>) -> Result<Measured<T>> {
        let (load, start) = (load_average()?, Instant::now());
        let data = section()?;
        let conditions = Conditions {
            cores: std::thread::available_parallelism()?.get(),
            processor: field("/proc/cpuinfo", "model name")?,
            memory_gb: field("/proc/meminfo", "MemTotal")?.trim_end_matches(" kB").parse::<u64>()? / 1_000_000,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            agent: self.build,
            load,
            seconds: start.elapsed().as_secs_f64().round(),
            quick: self.quick,
        };
        Ok(Measured { conditions, data })
    }
}

/// Prints progress to standard error.
pub fn say(what: impl std::fmt::Display) {
    eprintln!("bench: {what}");
}

/// The folder of the results, below the lab's folder.
pub fn results_folder(lab: &LabDir) -> Result<PathBuf> {
    let place = lab.root().join("bench");
    fs::create_dir_all(&place).with_context(|| format!("creating {}", place.display()))?;
    Ok(place)
}

/// Copies the programs into one folder: a lab serves the agent that lies beside it.
fn programs(place: &Path) -> Result<(PathBuf, Build)> {
    let built = rig::programs()?;
    let checkout = dir::checkout()?;
    let shipped = checkout.join("target/dist/agent");
    let (agent, build) = match is_current(&shipped, &checkout)? {
        true => (shipped, Build::Dist),
        false => (built.join("agent"), Build::Release),
    };
    let folder = place.join("programs");
    fs::create_dir_all(&folder)?;
    for (name, from) in [("agent", agent), ("launcher", built.join("launcher")), ("lab", built.join("lab"))] {
        let to = folder.join(name);
        // A running program can't be overwritten, but it can be replaced.
        let beside = folder.join(format!("{name}.new"));
        fs::copy(&from, &beside).with_context(|| format!("copying {}", from.display()))?;
        fs::rename(&beside, &to)?;
    }
    Ok((folder, build))
}

/// Whether the shipped agent is newer than all of its sources.
fn is_current(shipped: &Path, checkout: &Path) -> Result<bool> {
    let Ok(built) = fs::metadata(shipped).and_then(|file| file.modified()) else { return Ok(false) };
    for folder in ["agent", "templates/src", "templates/templates"] {
        if newest(&checkout.join(folder))? > built {
            return Ok(false);
        }
    }
    Ok(true)
}

fn newest(folder: &Path) -> Result<SystemTime> {
    let mut latest = SystemTime::UNIX_EPOCH;
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let entry = entry?;
        let changed =
            if entry.file_type()?.is_dir() { newest(&entry.path())? } else { entry.metadata()?.modified()? };
        latest = latest.max(changed);
    }
    Ok(latest)
}

fn link(to: &Path, link: &Path) -> Result<()> {
    if link.is_symlink() {
        fs::remove_file(link)?;
    }
    symlink(to, link).with_context(|| format!("linking {}", link.display()))
}

fn load_average() -> Result<f64> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split(' ').next().unwrap_or_default().parse()?)
}

fn field(file: &str, name: &str) -> Result<String> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {file}"))?;
    let line = text.lines().find(|line| line.starts_with(name)).with_context(|| format!("{file} has no {name}"))?;
    Ok(line.split_once(':').map_or("", |(_, value)| value).trim().to_owned())
}
