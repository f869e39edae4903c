//! What looks like a password, a token or another secret, which is for no job file.
//!
//! Names and places where drivers and servers are known to take one; not all that could be one.

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
}
