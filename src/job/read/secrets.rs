//! What looks like a password, a token or another secret, which is for no job file.
//!
//! Names and places where drivers and servers are known to take one; not all that could be one.

use std::ops::Range;

use crate::job::Setting;

/// Is something of this name one that nobody else may know?
pub(super) fn is_secret(name: &str) -> bool {
    /// Wherever they stand in a name.
    const PARTS: [&str; 15] = [
        "password",
        "passwd",
        "passphrase",
        "passcode",
        "token",
        "secret",
        "signature",
        "credential",
        "privatekey",
        "accesskey",
        "accountkey",
        "encryptionkey",
        "apikey",
        "authorization",
        "cookie",
    ];
    /// Only as its last word, as other words have them too: `path`, `bypass`.
    const WORDS: [&str; 8] = ["bearer", "jwt", "pass", "pat", "pw", "pwd", "sas", "sig"];
    let name = name.to_ascii_lowercase();
    let letters: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let last = name.rsplit(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    PARTS.iter().any(|part| letters.contains(part)) || WORDS.contains(&last)
}

/// Does a value hold a secret, as addresses and lists of settings write them?
pub(super) fn has_secret(value: &str) -> bool {
    let mut words = value.split_whitespace();
    let bearer = words.any(|word| word.eq_ignore_ascii_case("bearer")) && words.next().is_some();
    bearer || in_address(value) || in_list(value)
}

/// `scheme://me:password@host`, and without a scheme. A password may have `/` and `@` in it, and
/// the `:` may be written as addresses write signs.
fn in_address(value: &str) -> bool {
    let value = &value.replace("%3A", ":").replace("%3a", ":");
    let Some((_, rest)) = value.split_once("://") else {
        // A path may have both, after its first folder.
        let owner = value.rsplit_once('@').and_then(|(owner, _)| owner.split_once(':'));
        return owner.is_some_and(|(user, password)| {
            let plain = |c: char| !c.is_whitespace() && !"/='\"".contains(c);
            !user.is_empty() && user.chars().all(plain) && !password.is_empty()
        });
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    if let Some((owner, _)) = host.rsplit_once('@') {
        return owner.split_once(':').is_some_and(|(_, password)| !password.is_empty());
    }
    // What is no port begins a password that goes on with `/`, up to the `@`.
    let is_port = |port: &str| port.chars().all(|c| c.is_ascii_digit());
    let is_host = |host: &str| {
        let name = host.rsplit_once(']').map_or(host, |(_, port)| port);
        name.split_once(':').is_none_or(|(_, port)| is_port(port))
    };
    rest.contains('@') && !host.split(',').all(is_host)
}

/// `password = ...` among other settings, in an address, in JSON, or as a header.
fn in_list(value: &str) -> bool {
    let signs = value.char_indices().filter(|(_, c)| "=:".contains(*c));
    signs.into_iter().any(|(at, sign)| {
        let before = value[..at].trim_end();
        let name = before.trim_end_matches(['"', '\'']);
        let quoted = name.len() < before.len();
        let of_name = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        let name = &name[name.trim_end_matches(of_name).len()..];
        let after = &value[at + 1..];
        // Those of hosts and their ports are no settings.
        let sets = sign == '=' || quoted || after.starts_with(char::is_whitespace);
        sets && is_secret(name) && !after.trim().is_empty()
    })
}

/// The lines of a job file that may hold a secret, each with what follows them up to the next key.
/// They are told by their text, whatever else is wrong with the file, and only where servers are
/// named: elsewhere a column may be called `token`.
pub(crate) fn secret_lines(source: &str) -> Vec<Range<usize>> {
    let (mut at, mut of_server, mut header_before) = (0, false, false);
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut goes_on = false;
    for line in source.split_inclusive('\n') {
        let text = line.trim();
        let is_header = text.starts_with('[');
        if names_server(text, is_header || !header_before) {
            of_server = true;
        } else if is_other_header(text) {
            of_server = false;
        }
        header_before |= is_header;
        let is_one = of_server && may_hold_secret(text);
        goes_on = of_server && (is_one || goes_on && !sets_key(text));
        if goes_on {
            match found.last_mut().filter(|last| last.end == at) {
                Some(last) => last.end += line.len(),
                None => found.push(at..at + line.len()),
            }
        }
        at += line.len();
    }
    found
}

/// Do this header and what follows, or this line before any header, tell of a server?
fn names_server(line: &str, may: bool) -> bool {
    let quotes = |c: char| c.is_whitespace() || "[\"'".contains(c);
    let name = line.trim_start_matches(quotes);
    let name = name.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    may && ["adbc", "spark"].iter().any(|server| name.eq_ignore_ascii_case(server))
}

/// Does another section begin here? Not where a line of a list looks as if.
fn is_other_header(line: &str) -> bool {
    let name = line.trim_start_matches('[');
    let Some((name, rest)) = name.split_once(']').filter(|_| name.len() < line.len()) else {
        return false;
    };
    let rest = rest.trim_start_matches(']').trim_start();
    name.trim_start().starts_with(|c: char| c.is_ascii_alphabetic())
        && (rest.is_empty() || rest.starts_with('#'))
}

/// `key = ...`, and no line of a value that began above.
fn sets_key(line: &str) -> bool {
    line.split_once('=').is_some_and(|(key, _)| {
        let of_key = |c: char| c.is_ascii_alphanumeric() || "_-.\"' ".contains(c);
        key.starts_with(|c: char| c.is_ascii_alphabetic()) && key.chars().all(of_key)
    })
}

fn may_hold_secret(line: &str) -> bool {
    let is_mark = |c: char| c.is_whitespace() || "\"'".contains(c);
    let mut values = line.match_indices('=').map(|(at, _)| line[at + 1..].trim_matches(is_mark));
    let is_one = |text: &str| has_secret(text) || Setting::parse(text).is_none();
    has_secret(line) || values.any(has_secret) || line.split(['"', '\'']).any(is_one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_seen_by_their_names() {
        for name in [
            "password",
            "sslpassword",
            "PGPASSWORD",
            "pwd",
            "user_pwd",
            "db.pass",
            "PAT",
            "adbc.x.pat",
            "adbc.snowflake.sql.client_option.auth_token",
            "adbc.flight.sql.authorization_header",
            "client_secret",
            "passphrase",
            "private_key",
            "privateKey",
            "api_key",
            "apiKey",
            "x-api-key",
            "access_key",
            "s3_secret_access_key",
            "Authorization",
            "proxy-authorization",
            "bearer",
            "Cookie",
            "set-cookie",
            "session_jwt",
            "AccountKey",
            "encryption_key",
            "passcode",
            "x-amz-signature",
            "sig",
            "blob_sas",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "",
            "path",
            "passfile",
            "bypass_proxy",
            "design",
            "sasl_mechanism",
            "signed_in",
            "username",
            "user_id",
            "uri",
            "threads",
            "temp_directory",
            "search_path",
            "sslmode",
            "sslrootcert",
            "require_auth",
            "keepalives_idle",
            "use_ssl",
            "x-databricks-cluster-id",
            "adbc.bigquery.sql.project_id",
            "adbc.bigquery.sql.auth_type",
            "adbc.snowflake.sql.client_option.keep_session_alive",
            "adbc.snowflake.sql.client_option.jwt_expire_timeout",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn secrets_are_seen_in_values() {
        for value in [
            "postgresql://me:pw@host/db",
            "postgresql://me:p@w@host/db",
            "postgresql://me:pa/ss@host/db",
            "postgresql://me:pa?ss@host/db",
            "postgresql://me%3Apw@host/db",
            "postgresql://me%3apw@host/db",
            "me%3Apw@acct/db",
            "https://acct.example/box?sv=1&sig=abc",
            "AccountName=me;AccountKey=abc==;",
            "postgresql://host/db?user=me&password=pw",
            "postgresql://host:5432,other:5433/db?sslpassword=pw",
            "host=db user=me password=pw",
            "host=db password = pw user=me",
            "host=db password ='p w'",
            "me:pw@acct/db",
            "me:pa/ss@host",
            "me:pw@acct/db/schema?warehouse=w",
            "me@acct/db?token=abc",
            "Server=db;Uid=me;Pwd=pw;",
            "{\"type\": \"service_account\", \"private_key\": \"x\"}",
            "{'private_key':'x'}",
            "Authorization: Basic bWU6cHc=",
            "Bearer abc",
        ] {
            assert!(has_secret(value), "{value}");
        }
        for value in [
            "",
            "1",
            ":memory:",
            "payments.duckdb",
            "/a:b@c",
            "lake/a:b@c.duckdb",
            "postgresql://me@host:5432/db",
            "postgresql://me:@host/db",
            "postgresql://me%3A@host/db",
            "postgresql://host:5432,other:5433/db?user=me@shop",
            "postgresql://[::1]:5432/a@b:c",
            "postgresql://[::1]/a@b:c",
            "postgresql://passwords:5432/db",
            "https://secrets.example:443/a",
            "host=db user=me@shop passfile=/home/me/.pgpass",
            "host=db user=me password=",
            "options='-c search_path=lake'",
            "me@acct/db/schema?warehouse=w",
            "adbc.bigquery.sql.auth_type.auth_bigquery",
            "10:30",
            "bearer",
        ] {
            assert!(!has_secret(value), "{value}");
        }
    }

    #[test]
    fn lines_with_secrets_are_found_where_servers_are_named() {
        let hidden = |source: &str| -> Vec<String> {
            let lines = secret_lines(source).into_iter();
            lines.flat_map(|l| source[l].lines().map(str::to_owned).collect::<Vec<_>>()).collect()
        };
        for line in [
            "uri = \"postgresql://me:pw@h/db\"",
            "dsn = \"me:pw@acct/db\"",
            "dsn = 'me:p\"w@acct/db'",
            "dsn = \"me:p\\\"w@acct/db\"",
            "dsn = \"me:pw@acct/db",
            "password = \"pw\"",
            "\"password\" = \"pw\"",
            "password = pw",
            "password = 12345",
            "password = [\"pw\", \"b\"]",
            "password = { value = \"pw\" }",
            "options = \"password=pw\"",
            "options = { threads = [\"1\"], pwd = \"pw\" }",
            "options.adbc.snowflake.password = \"pw\"",
            "dsn = \"env:pw\" # NAME",
            "# password = \"pw\"",
        ] {
            for header in [
                "[adbc]",
                "[adbc.options]",
                "[ spark ] # here",
                "[\"adbc\"]",
                "[ADBC",
                "adbc.a = 1",
            ] {
                let job = format!("{header}\nthreads = 1\n{line}\nmore = 1\n[keys]\n{line}\n");
                assert_eq!(hidden(&job), [line], "{job}");
            }
        }
        // On the line of the header, of a key before any header, or several.
        for lines in [
            "[adbc] password = \"pw\"",
            "adbc.password = \"pw\"",
            "adbc = { password = \"pw\" }",
            "[spark]\ntoken = [\n  [\"pw\"],\n  \"pw\",\n]",
            "[spark]\ntoken = \"\"\"\npw\n\"\"\"",
        ] {
            let job = format!("version = 1\n{lines}\nurl = \"sc://host:15002\"\n[keys]\n");
            let wanted: Vec<&str> = lines.lines().filter(|line| *line != "[spark]").collect();
            assert_eq!(hidden(&job), wanted, "{job}");
        }
        for job in [
            "",
            "token = \"pw\"",
            "[payments]\ntypes = { user_token = \"text\" }\nadbc = \"password=pw\"",
            "[adbc]\nuri = \"postgresql://me@h:5432/db\"\nthreads = [\"1\"]\n[[report]]\ntoken = 1",
            "[spark]\nurl = \"sc://host:15002/;use_ssl=true\"",
            "[adbc]\ndsn = \"env:NAME\" # pw",
        ] {
            assert!(hidden(job).is_empty(), "{job}");
        }
    }
}
