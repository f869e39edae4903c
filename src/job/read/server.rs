//! Who adds up the payments: `engine` of `[payments]`, and the sections `[spark]` and `[adbc]`.

use std::collections::BTreeMap;
use std::path::Path;

use super::Reader;
use super::secrets::{has_secret, is_secret};
use crate::findings;
use crate::job::raw::{Placed, Section};
use crate::job::{AdbcServer, Dialect, Server, Setting, SparkServer};

/// The sections that tell of servers, as far as the job has them.
pub(super) struct Servers<'a> {
    spark: Option<Section<'a>>,
    adbc: Option<Section<'a>>,
}

/// What is not a path.
const IN_MEMORY: &str = ":memory:";

impl<'a> Servers<'a> {
    pub(super) fn of(root: &Section<'a>) -> Servers<'a> {
        Servers { spark: root.section("spark", "[spark]"), adbc: root.section("adbc", "[adbc]") }
    }
}

impl Reader<'_> {
    /// The server that `engine` names, if the job has that key; `None` if it cannot be used.
    pub(super) fn server(&self, payments: &Section, servers: &Servers) -> Option<Option<Server>> {
        // Of files it is idle, which is said where tables are read.
        let engine = payments.text("engine").filter(|_| payments.has("table"));
        let stated = payments.has("engine") && payments.has("table");
        let name = engine.as_ref().map_or("", |engine| engine.value.as_str());
        let sections = [("spark", &servers.spark), ("adbc", &servers.adbc)];
        for (of, section) in sections {
            if let Some(section) = section.as_ref().filter(|_| of != name) {
                let what = match of {
                    "spark" => "`engine = \"spark\"` in [payments]",
                    _ => "`engine = \"adbc\"` in [payments]",
                };
                let finding = findings::key_idle(section.name(), what);
                self.faults.add(finding.at(section.span()));
            }
        }
        match &engine {
            None => (!stated).then_some(None),
            Some(engine) if name == "spark" => {
                Some(Some(Server::Spark(self.spark(servers, engine)?)))
            }
            Some(engine) if name == "adbc" => Some(Some(Server::Adbc(self.adbc(servers, engine)?))),
            Some(engine) => {
                let (shown, rule) = (format!("{name:?}"), "\"spark\" or \"adbc\"");
                let finding = findings::value_out_of_range("engine", &shown, rule);
                self.faults.add(finding.at(engine.span.clone()));
                None
            }
        }
    }

    /// A server without its section cannot be asked.
    fn required<'s, 'a>(
        &self,
        section: &'s Option<Section<'a>>,
        engine: &Placed<String>,
    ) -> Option<&'s Section<'a>> {
        if section.is_none() {
            let finding = findings::engine_section_missing(&engine.value);
            self.faults.add(finding.at(engine.span.clone()));
        }
        section.as_ref()
    }

    fn spark(&self, servers: &Servers, engine: &Placed<String>) -> Option<SparkServer> {
        let section = self.required(&servers.spark, engine)?;
        let url = section.require("url", "url = \"sc://localhost:15002\"", section.text("url"));
        if section.has("token") {
            let _ = section.text("token");
            let finding = findings::secret_in_job("token", &no_token());
            self.faults.add(finding.at_secret(section.span_of("token")));
        }
        section.finish();
        let Placed { value: url, span } = url?;
        let (host, parameters) = url.split_once("/;").unwrap_or((&url, ""));
        let pairs = parameters.split(';').map(|one| one.split_once('=').unwrap_or((one, "")));
        let mut pairs = pairs.map(|(name, value)| (name.trim(), value));
        let secret = pairs.find(|(name, value)| is_secret(name) || has_secret(value));
        let secret = secret.map(|(name, _)| name).or(has_secret(host).then_some("url"));
        if let Some(name) = secret {
            self.faults.add(findings::secret_in_job(name, &no_token()).at_secret(span));
            return None;
        }
        let host = host.strip_prefix("sc://").map(|host| host.trim_end_matches('/'));
        let plain = |host: &&str| {
            !host.is_empty() && !host.contains(['/', '@', ';', ' ']) && host.is_ascii()
        };
        if host.filter(plain).is_none() {
            let (shown, rule) = (format!("{url:?}"), "such as \"sc://host:15002\"");
            self.faults.add(findings::value_out_of_range("url", &shown, rule).at(span));
            return None;
        }
        Some(SparkServer { url, span })
    }

    fn adbc(&self, servers: &Servers, engine: &Placed<String>) -> Option<AdbcServer> {
        let section = self.required(&servers.adbc, engine)?;
        let driver = section.require("driver", "driver = \"duckdb\"", section.text("driver"));
        let entrypoint = section.text("entrypoint").map(|text| text.value);
        let stated = section.text("dialect");
        let options = section.section("options", "`options` of [adbc]");
        let has_options = !section.has("options") || options.is_some();
        let options_span = section.has("options").then(|| section.span_of("options"));
        section.finish();
        // Messages name both.
        for (key, text) in [("driver", &driver), ("dialect", &stated)] {
            if let Some(text) = text.as_ref().filter(|text| has_secret(&text.value)) {
                let hint = "give it in `options`, by an environment variable: `\"env:NAME\"`";
                let finding = findings::secret_in_job(key, hint);
                self.faults.add(finding.at_secret(text.span.clone()));
                return None;
            }
        }
        let dialect = self.dialect(section, stated, driver.as_ref());
        let options =
            options.map(|options| self.options(&options)).unwrap_or(Some(BTreeMap::new()));
        let (driver, dialect) = (driver?, dialect?);
        let mut options = options.filter(|_| has_options)?;
        // As all paths of a job.
        let in_folder = |path: &str| self.path(path).display().to_string();
        for name in ["path", "temp_directory"] {
            if dialect == Dialect::DuckDb
                && let Some(Setting::Stated(path)) = options.get_mut(name)
                && !path.is_empty()
                && path != IN_MEMORY
            {
                *path = in_folder(path);
            }
        }
        let name = driver.value;
        let is_path = name.contains('/') || Path::new(&name).extension().is_some();
        let path = if is_path { in_folder(&name) } else { name };
        let (span, options_span) = (driver.span.clone(), options_span.unwrap_or(driver.span));
        Some(AdbcServer { driver: path, entrypoint, options, dialect, span, options_span })
    }

    /// What the job says that the database understands, else what the driver's name tells.
    fn dialect(
        &self,
        section: &Section,
        stated: Option<Placed<String>>,
        driver: Option<&Placed<String>>,
    ) -> Option<Dialect> {
        const KNOWN: [Dialect; 4] =
            [Dialect::DuckDb, Dialect::PostgreSql, Dialect::Snowflake, Dialect::BigQuery];
        let Some(stated) = stated else {
            // Of another type.
            if section.has("dialect") {
                return None;
            }
            let file = driver?.value.rsplit('/').next()?.to_ascii_lowercase();
            let known = KNOWN.into_iter().find(|dialect| file.contains(dialect.name()));
            return section.require("dialect", "dialect = \"postgresql\"", known);
        };
        let known = KNOWN.into_iter().find(|dialect| dialect.name() == stated.value);
        if known.is_none() {
            let shown = format!("{:?}", stated.value);
            let rule = "\"duckdb\", \"postgresql\", \"snowflake\" or \"bigquery\"";
            let finding = findings::value_out_of_range("dialect", &shown, rule);
            self.faults.add(finding.at(stated.span));
        }
        known
    }

    /// What the driver is told; no secret.
    fn options(&self, section: &Section) -> Option<BTreeMap<String, Setting>> {
        let mut options = BTreeMap::new();
        let mut good = true;
        for (name, texts) in section.every_entry() {
            let [text] = &texts[..] else {
                let finding = findings::value_type_wrong(&name.value, "a text", "a list");
                self.faults.add(finding.at(name.span));
                good = false;
                continue;
            };
            let setting = Setting::parse(&text.value);
            let open = match &setting {
                None => true,
                Some(Setting::Stated(value)) => is_secret(&name.value) || has_secret(value),
                Some(Setting::Environment(_)) => false,
            };
            let Some(setting) = setting.filter(|_| !open) else {
                let hint = format!(
                    "write `{} = \"env:NAME\"`, and set the environment variable NAME (capital letters, digits \
                     and `_`)",
                    name.value
                );
                let finding = findings::secret_in_job(&name.value, &hint);
                self.faults.add(finding.at_secret(name.span));
                good = false;
                continue;
            };
            options.insert(name.value, setting);
        }
        good.then_some(options)
    }
}

/// What to do in place of writing a token of Spark.
fn no_token() -> String {
    format!("leave it out, and set the environment variable {}", SparkServer::TOKEN)
}
