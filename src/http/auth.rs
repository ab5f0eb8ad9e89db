//! Who a request comes from: verifies bearer tokens (RFC 6750, 7519, 8725) and mints them for development, tests and
//! the bench. Nothing has to be installed at start: with one backend compiled in, jsonwebtoken picks it by itself.

use anyhow::{Context as _, ensure};
use hyper::header::HeaderValue;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, TokenData, Validation, decode, encode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::problem::{Code, Problem};
use crate::config::{Config, JwtAlgorithm, Secret};
use crate::engine::user::{Pseudonym, UserId};

/// Bytes of the longest token that is looked at.
pub const TOKEN_BYTES_MAX: usize = 4096;

/// Bytes of the shortest HS256 secret (RFC 8725 section 3.5: as strong as the hash).
const SECRET_BYTES_MIN: usize = 32;

/// Bytes of an Ed25519 public key.
const ED25519_KEY_BYTES: usize = 32;

/// Longest clock difference to forgive. The library computes `now - leeway` and `now + leeway` unchecked.
const LEEWAY_S_MAX: u64 = 300;

/// The `role` that may use the operations listener's admin routes.
const ADMIN_ROLE: &str = "admin";

/// Whom a verified token stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The token's `sub`.
    pub user: UserId,
    /// The user in logs; made here because a token is verified once and used often.
    pub pseudonym: Pseudonym,
    /// Whether its `role` is `admin`.
    pub admin: bool,
}

impl Identity {
    /// Of a user.
    pub fn new(user: UserId, admin: bool) -> Self {
        Self { pseudonym: user.pseudonym(), user, admin }
    }
}

/// Why there is no identity. Clients learn no more than this; the reason goes to the log, at debug level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The request carries no bearer token (perhaps another scheme).
    #[error("no bearer token was given")]
    Missing,
    /// It carries one that does not count.
    #[error("the bearer token was refused")]
    Refused,
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        let problem = Self::new(Code::Unauthorized);
        match error {
            AuthError::Missing => problem,
            AuthError::Refused => problem.token_refused(),
        }
    }
}

/// Verifies tokens under exactly one algorithm and one key. Make it once, share it.
#[derive(Clone, Debug)]
pub struct Verifier {
    key: DecodingKey,
    validation: Validation,
}

/// The claims that verification does not use up. `exp`, `nbf`, `iss` and `aud` are the library's; others are ignored.
#[derive(Deserialize)]
struct Claims {
    sub: UserId,
    /// Seconds since 1970, possibly with a fraction.
    exp: f64,
    /// Any JSON: a role that is not ours makes nobody an admin, but is no reason to refuse the user.
    #[serde(default)]
    role: Value,
}

impl Verifier {
    /// Reads the key that `jwt_algorithm` names; an error names the setting, never the secret.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let leeway_s = config.jwt_leeway_s;
        ensure!(leeway_s <= LEEWAY_S_MAX, "jwt_leeway_s: at most {LEEWAY_S_MAX} s");
        ensure!(!config.jwt_issuer.is_empty(), "jwt_issuer: must not be empty");
        ensure!(!config.jwt_audience.is_empty(), "jwt_audience: must not be empty");
        let (algorithm, key) = match config.jwt_algorithm {
            JwtAlgorithm::Hs256 => (Algorithm::HS256, DecodingKey::from_secret(secret_bytes(&config.jwt_secret)?)),
            JwtAlgorithm::EdDsa => (Algorithm::EdDSA, ed25519_key(config)?),
        };
        // The algorithm is pinned twice: in `algorithms`, and by the key, which fits one family only.
        let mut validation = Validation::new(algorithm);
        validation.leeway = leeway_s;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "sub", "iss", "aud"]);
        validation.set_issuer(&[&config.jwt_issuer]);
        validation.set_audience(&[&config.jwt_audience]);
        Ok(Self { key, validation })
    }

    /// The identity behind an `Authorization` field, and the last second (since 1970) at which the token counts.
    pub fn verify(&self, authorization: Option<&HeaderValue>) -> Result<(Identity, f64), AuthError> {
        let token = bearer_token(authorization.ok_or(AuthError::Missing)?)?;
        let TokenData { header, claims } =
            decode::<Claims>(token, &self.key, &self.validation).map_err(|error| refused(error.kind()))?;
        // The library reads `crit` and goes on. RFC 7515 section 4.1.11: refuse what is not understood, and no
        // extension is understood here.
        if header.crit.is_some() {
            return Err(refused(&"crit"));
        }
        let identity = Identity::new(claims.sub, claims.role == ADMIN_ROLE);
        Ok((identity, claims.exp + self.validation.leeway as f64))
    }
}

/// Tells operators why, as data (`Debug` escapes what the token's author wrote); never the token.
fn refused(reason: &dyn std::fmt::Debug) -> AuthError {
    tracing::debug!(?reason, "token refused");
    AuthError::Refused
}

/// The one token behind the scheme `Bearer`. The characters are checked before anything is decoded.
fn bearer_token(authorization: &HeaderValue) -> Result<&[u8], AuthError> {
    let value = authorization.as_bytes();
    let scheme_bytes = value.iter().position(|b| *b == b' ').unwrap_or(value.len());
    let (scheme, rest) = value.split_at(scheme_bytes);
    if !scheme.eq_ignore_ascii_case(b"Bearer") {
        return Err(AuthError::Missing);
    }
    let token = rest.trim_ascii();
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"-_.".contains(b);
    if (1..=TOKEN_BYTES_MAX).contains(&token.len()) && token.iter().all(allowed) {
        Ok(token)
    } else {
        Err(refused(&"not one token of at most 4096 bytes"))
    }
}

fn secret_bytes(secret: &Secret) -> anyhow::Result<&[u8]> {
    let bytes = secret.expose().as_bytes();
    ensure!(bytes.len() >= SECRET_BYTES_MIN, "jwt_secret: HS256 needs a secret of at least {SECRET_BYTES_MIN} bytes");
    Ok(bytes)
}

/// Checks all that the library would find out (or panic over) only at the first token.
fn ed25519_key(config: &Config) -> anyhow::Result<DecodingKey> {
    const EXPECTED: &str = "jwt_public_key_file: expected the PEM file of an Ed25519 public key";
    let pem = std::fs::read(&config.jwt_public_key_file)
        .with_context(|| format!("jwt_public_key_file: cannot read {}", config.jwt_public_key_file.display()))?;
    let key = DecodingKey::from_ed_pem(&pem).context(EXPECTED)?;
    let bytes = key.try_get_as_bytes().context(EXPECTED)?;
    ensure!(bytes.len() == ED25519_KEY_BYTES, EXPECTED);
    // Verifying nothing fails only when the bytes are no point of the curve.
    jsonwebtoken::crypto::verify("", b"", &key, Algorithm::EdDSA).context(EXPECTED)?;
    Ok(key)
}

/// Mints HS256 tokens for `flashsale token`, development, tests and the bench.
#[derive(Clone, Debug)]
pub struct Minter {
    key: EncodingKey,
    issuer: String,
    audience: String,
}

#[derive(Serialize)]
struct MintedClaims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a UserId,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
}

impl Minter {
    /// `secret` has at least 32 bytes; issuer and audience are those that the verifier requires.
    pub fn new(secret: &Secret, issuer: &str, audience: &str) -> anyhow::Result<Self> {
        let key = EncodingKey::from_secret(secret_bytes(secret)?);
        Ok(Self { key, issuer: issuer.to_owned(), audience: audience.to_owned() })
    }

    /// A token that is valid from now on for `ttl_s` seconds. Fails when `user` is no user id.
    pub fn mint(&self, user: &str, admin: bool, ttl_s: u64) -> anyhow::Result<String> {
        let user = UserId::parse(user).context("a user is 1 to 64 characters of [A-Za-z0-9_|:.@-]")?;
        let now = jsonwebtoken::get_current_timestamp();
        let claims = MintedClaims {
            iss: &self.issuer,
            aud: &self.audience,
            sub: &user,
            iat: now,
            exp: now.checked_add(ttl_s).context("the time to live is too long")?,
            role: admin.then_some(ADMIN_ROLE),
        };
        Ok(encode(&Header::new(Algorithm::HS256), &claims, &self.key)?)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::get_current_timestamp;
    use serde_json::json;

    use super::*;
    use crate::config::Source;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    // Made for this test with `openssl genpkey -algorithm ed25519`; they protect nothing.
    const ED_PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEICAizS3TwoFOlvT+LqW3BviCQ0IH0gq30AuwnnKxYvCy\n-----END PRIVATE KEY-----\n";
    const ED_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAy6K4n+MfoQWYOJJVZj06fTe8w6g6jSPgHu6WOgH0CrY=\n-----END PUBLIC KEY-----\n";
    const ED_PRIVATE_OTHER: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINvJADR7lg3wdgVqah7LwHBp9zXauQaE+FdH53MWPJtM\n-----END PRIVATE KEY-----\n";
    const P256_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
        MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEDPLYIs2CYck4cd9ZP+7HE8xChLMu\n\
        8I+NKzgR1XQGelLGRfYjNxyqLrlUUW4/800djtI3YoQyR3LODZtzcXyngg==\n-----END PUBLIC KEY-----\n";

    fn config(extra: &[(&str, &str)]) -> Config {
        let common =
            [("REDIS_URL", "redis://127.0.0.1:1"), ("DATABASE_URL", "postgres://127.0.0.1/d"), ("JWT_SECRET", SECRET)];
        let env = common.iter().chain(extra).map(|(name, value)| (format!("FLASHSALE_{name}"), (*value).to_owned()));
        Config::load(&Source::new(env, None)).expect("a valid configuration")
    }

    fn hs256() -> Verifier {
        Verifier::new(&config(&[])).expect("a verifier")
    }

    /// A verifier of `EdDSA` tokens with this key file.
    fn eddsa(pem: &str) -> anyhow::Result<Verifier> {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(pem.as_bytes()).expect("written");
        let path = file.path().to_str().expect("UTF-8");
        Verifier::new(&config(&[("JWT_ALGORITHM", "EdDSA"), ("JWT_PUBLIC_KEY_FILE", path)]))
    }

    /// Valid claims, but for what `changes` sets (or, with null, takes away).
    fn claims(changes: &Value) -> Value {
        let exp = get_current_timestamp() + 60;
        let mut claims = json!({"iss": "flashsale", "aud": "flashsale", "sub": "alice", "exp": exp});
        let members = claims.as_object_mut().expect("an object");
        members.extend(changes.as_object().expect("an object").clone());
        members.retain(|_, value| !value.is_null());
        claims
    }

    fn sign(algorithm: Algorithm, secret: &[u8], claims: &Value) -> String {
        encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret)).expect("signed")
    }

    fn hs(changes: &Value) -> String {
        sign(Algorithm::HS256, SECRET.as_bytes(), &claims(changes))
    }

    fn ed(private: &str) -> String {
        let key = EncodingKey::from_ed_pem(private.as_bytes()).expect("a private key");
        encode(&Header::new(Algorithm::EdDSA), &claims(&json!({})), &key).expect("signed")
    }

    fn part(json: &Value) -> String {
        URL_SAFE_NO_PAD.encode(json.to_string())
    }

    fn verify_field(verifier: &Verifier, field: &str) -> Result<Identity, AuthError> {
        let field = HeaderValue::from_str(field).expect("a field value");
        verifier.verify(Some(&field)).map(|(identity, _)| identity)
    }

    fn verify(verifier: &Verifier, token: &str) -> Result<Identity, AuthError> {
        verify_field(verifier, &format!("Bearer {token}"))
    }

    #[test]
    fn good_tokens_of_both_algorithms_name_their_user() {
        let alice = Identity::new(UserId::parse("alice").expect("a user"), false);
        assert_eq!(verify(&eddsa(ED_PUBLIC).expect("a verifier"), &ed(ED_PRIVATE)), Ok(alice.clone()));
        let (verifier, now) = (hs256(), get_current_timestamp());
        for changes in [
            json!({}),
            json!({"aud": ["elsewhere", "flashsale"]}),
            json!({"exp": now - 2, "nbf": now + 2}), // the leeway is 5 s
            json!({"exp": now + 60, "nbf": now - 60, "iat": now - 60, "jti": "7", "scope": ["a"]}),
            json!({"role": "user"}),
            json!({"role": "Admin"}),
            json!({"role": ["admin"]}),
            json!({"padding": "x".repeat(2500)}),
        ] {
            assert_eq!(verify(&verifier, &hs(&changes)), Ok(alice.clone()), "{changes}");
        }
        assert!(verify(&verifier, &hs(&json!({"role": "admin"}))).expect("an admin").admin);
        let longest = "x".repeat(64);
        assert_eq!(verify(&verifier, &hs(&json!({"sub": longest}))).expect("a user").user.as_str(), longest);
        for field in [format!("bearer {}", hs(&json!({}))), format!("BEARER   {}", hs(&json!({})))] {
            assert_eq!(verify_field(&verifier, &field), Ok(alice.clone()));
        }
    }

    #[test]
    fn claims_that_are_missing_or_wrong_refuse_the_token() {
        let (verifier, now) = (hs256(), get_current_timestamp());
        for changes in [
            json!({"exp": now - 60}),
            json!({"exp": null}),
            json!({"exp": "tomorrow"}),
            json!({"exp": -1}),
            json!({"nbf": now + 60}),
            json!({"nbf": "yesterday"}),
            json!({"iss": null}),
            json!({"iss": "evil"}),
            json!({"iss": 7}),
            json!({"aud": null}),
            json!({"aud": "elsewhere"}),
            json!({"aud": ["elsewhere"]}),
            json!({"aud": []}),
            json!({"sub": null}),
            json!({"sub": ""}),
            json!({"sub": 7}),
            json!({"sub": "a b"}),
            json!({"sub": "a}b"}),
            json!({"sub": "홍길동"}),
            json!({"sub": "x".repeat(65)}),
            json!({"padding": "x".repeat(4096)}),
        ] {
            assert_eq!(verify(&verifier, &hs(&changes)), Err(AuthError::Refused), "{changes}");
        }
    }

    #[test]
    fn only_the_pinned_algorithm_and_key_count() {
        let (hs_verifier, ed_verifier) = (hs256(), eddsa(ED_PUBLIC).expect("a verifier"));
        let good = claims(&json!({}));
        let unsigned = |alg: &str| format!("{}.{}.", part(&json!({"typ": "JWT", "alg": alg})), part(&good));
        let refused = [
            unsigned("none"),
            unsigned("None"),
            unsigned("HS256"),
            unsigned("EdDSA"),
            unsigned("RS256"),
            sign(Algorithm::HS384, SECRET.as_bytes(), &good),
            sign(Algorithm::HS512, SECRET.as_bytes(), &good),
            sign(Algorithm::HS256, b"another secret of at least 32 bytes", &good),
            sign(Algorithm::HS256, b"", &good),
            // The swap: the public key, which everybody knows, as an HMAC secret.
            sign(Algorithm::HS256, ED_PUBLIC.as_bytes(), &good),
            sign(Algorithm::HS256, ED_PUBLIC.trim_end().as_bytes(), &good),
            ed(ED_PRIVATE_OTHER),
        ];
        for token in &refused {
            assert_eq!(verify(&hs_verifier, token), Err(AuthError::Refused), "{token}");
            assert_eq!(verify(&ed_verifier, token), Err(AuthError::Refused), "{token}");
        }
        assert_eq!(verify(&hs_verifier, &ed(ED_PRIVATE)), Err(AuthError::Refused));
        assert_eq!(verify(&ed_verifier, &hs(&json!({}))), Err(AuthError::Refused));
        let critical = Header { crit: Some(vec!["b64".to_owned()]), ..Header::new(Algorithm::HS256) };
        let token = encode(&critical, &good, &EncodingKey::from_secret(SECRET.as_bytes())).expect("signed");
        assert_eq!(verify(&hs_verifier, &token), Err(AuthError::Refused));
    }

    #[test]
    fn what_is_not_one_intact_token_is_refused_and_no_token_is_missing() {
        let (verifier, token) = (hs256(), hs(&json!({})));
        let parts: Vec<&str> = token.split('.').collect();
        let [header, payload, signature] = parts[..] else { panic!("three parts") };
        let tampered = part(&claims(&json!({"sub": "mallory"})));
        for text in [
            String::new(),
            "garbage".to_owned(),
            "...".to_owned(),
            "a.b.c".to_owned(),
            format!("{token}.more"),
            format!(".{token}"),
            format!("{token} {token}"),
            format!("{token}="),
            format!("{token},"),
            format!("{header}.{tampered}.{signature}"),
            format!("{header}.{payload}"),
            format!("{header}.{payload}."),
            format!("{header}.{payload}.{}", &signature[1..]),
            format!("{}.{payload}.{signature}", part(&json!({"alg": "HS256"}))),
            format!("{}.{payload}.{signature}", part(&json!([]))),
            "x".repeat(1 << 20),
        ] {
            assert_eq!(verify(&verifier, &text), Err(AuthError::Refused), "{text:.200}");
        }
        let opaque = HeaderValue::from_bytes(b"Bearer \xff").expect("an opaque value");
        assert_eq!(verifier.verify(Some(&opaque)), Err(AuthError::Refused));
        assert_eq!(verifier.verify(None), Err(AuthError::Missing));
        for field in ["", "Basic YTpi", "Digest x=y", &token, &format!("Bearer{token}")] {
            assert_eq!(verify_field(&verifier, field), Err(AuthError::Missing), "{field}");
        }
        assert!(!Problem::from(AuthError::Missing).token_refused);
        assert!(Problem::from(AuthError::Refused).token_refused);
    }

    #[test]
    fn the_minter_mints_what_the_verifier_takes() {
        let minter = Minter::new(&Secret::new(SECRET), "flashsale", "flashsale").expect("a minter");
        for admin in [false, true] {
            let identity = verify(&hs256(), &minter.mint("bob@example.com", admin, 60).expect("a token"));
            assert_eq!(identity, Ok(Identity::new(UserId::parse("bob@example.com").expect("a user"), admin)));
        }
        assert!(minter.mint("", false, 60).is_err());
        assert!(minter.mint("a b", false, 60).is_err());
        assert!(minter.mint("bob", false, u64::MAX).is_err());
        assert!(Minter::new(&Secret::new("short"), "flashsale", "flashsale").is_err());
        assert!(!format!("{minter:?} {:?}", hs256()).contains(SECRET));
    }

    #[test]
    fn a_useless_key_or_setting_is_found_at_start() {
        let truncated = ED_PUBLIC.replace("OgH0CrY=", "");
        for pem in ["", "nonsense", ED_PRIVATE, P256_PUBLIC, &truncated] {
            let error = eddsa(pem).expect_err("no public key").to_string();
            assert!(error.contains("jwt_public_key_file"), "{error}");
        }
        for (name, value) in [("JWT_LEEWAY_S", "301"), ("JWT_ISSUER", ""), ("JWT_AUDIENCE", "")] {
            assert!(Verifier::new(&config(&[(name, value)])).is_err(), "{name}");
        }
        let nowhere = config(&[("JWT_ALGORITHM", "EdDSA"), ("JWT_PUBLIC_KEY_FILE", "/nonexistent/key.pem")]);
        let error = Verifier::new(&nowhere).expect_err("no file").to_string();
        assert!(error.contains("jwt_public_key_file"), "{error}");
    }
}
