package brokerconfig

import (
	"slices"

	"github.com/karst-io/karst/internal/config/key"
)

// plainText is said of what nothing reads here.
const plainText = "Shown for tools: this listener is plain text."

// securityKeys are the configs about TLS, SASL and delegation tokens.
func securityKeys() []Key { return slices.Concat(saslKeys(), tlsKeys()) }

func saslKeys() []Key {
	return []Key{
		fixed("authorizer.class.name", configkey.String, "", plainText),
		fixed("connection.failed.authentication.delay.ms", configkey.Int, "100", plainText),
		fixed("connections.max.reauth.ms", configkey.Long, "0", plainText),
		fixed("delegation.token.expiry.check.interval.ms", configkey.Long, "3600000", plainText),
		fixed("delegation.token.expiry.time.ms", configkey.Long, "86400000", plainText),
		fixed("delegation.token.max.lifetime.ms", configkey.Long, "604800000", plainText),
		fixed("delegation.token.secret.key", configkey.Password, null, plainText),
		perBroker("principal.builder.class", configkey.Class, "org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder", plainText),
		fixed("sasl.client.callback.handler.class", configkey.Class, null, plainText),
		perBroker("sasl.enabled.mechanisms", configkey.List, "GSSAPI", plainText),
		perBroker("sasl.jaas.config", configkey.Password, null, plainText),
		perBroker("sasl.kerberos.kinit.cmd", configkey.String, "/usr/bin/kinit", plainText),
		perBroker("sasl.kerberos.min.time.before.relogin", configkey.Long, "60000", plainText),
		perBroker("sasl.kerberos.principal.to.local.rules", configkey.List, "DEFAULT", plainText),
		perBroker("sasl.kerberos.service.name", configkey.String, null, plainText),
		perBroker("sasl.kerberos.ticket.renew.jitter", configkey.Double, "0.05", plainText),
		perBroker("sasl.kerberos.ticket.renew.window.factor", configkey.Double, "0.8", plainText),
		fixed("sasl.login.callback.handler.class", configkey.Class, null, plainText),
		fixed("sasl.login.class", configkey.Class, null, plainText),
		fixed("sasl.login.connect.timeout.ms", configkey.Int, null, plainText),
		fixed("sasl.login.read.timeout.ms", configkey.Int, null, plainText),
		perBroker("sasl.login.refresh.buffer.seconds", configkey.Short, "300", plainText),
		perBroker("sasl.login.refresh.min.period.seconds", configkey.Short, "60", plainText),
		perBroker("sasl.login.refresh.window.factor", configkey.Double, "0.8", plainText),
		perBroker("sasl.login.refresh.window.jitter", configkey.Double, "0.05", plainText),
		fixed("sasl.login.retry.backoff.max.ms", configkey.Long, "10000", plainText),
		fixed("sasl.login.retry.backoff.ms", configkey.Long, "100", plainText),
		fixed("sasl.mechanism.controller.protocol", configkey.String, "GSSAPI", plainText),
		perBroker("sasl.mechanism.inter.broker.protocol", configkey.String, "GSSAPI", plainText),
		fixed("sasl.oauthbearer.assertion.algorithm", configkey.String, "RS256", plainText),
		fixed("sasl.oauthbearer.assertion.claim.aud", configkey.String, null, plainText),
		fixed("sasl.oauthbearer.assertion.claim.exp.seconds", configkey.Int, "300", plainText),
		fixed("sasl.oauthbearer.assertion.claim.iss", configkey.String, null, plainText),
		fixed("sasl.oauthbearer.assertion.claim.jti.include", configkey.Boolean, "false", plainText),
		fixed("sasl.oauthbearer.assertion.claim.nbf.seconds", configkey.Int, "60", plainText),
		fixed("sasl.oauthbearer.assertion.claim.sub", configkey.String, null, plainText),
		fixed("sasl.oauthbearer.assertion.file", configkey.String, null, plainText),
		fixed("sasl.oauthbearer.assertion.private.key.file", configkey.String, null, plainText),
		fixed("sasl.oauthbearer.assertion.private.key.passphrase", configkey.Password, null, plainText),
		fixed("sasl.oauthbearer.assertion.template.file", configkey.String, null, plainText),
		fixed("sasl.oauthbearer.client.credentials.client.id", configkey.String, null, plainText),
		fixed("sasl.oauthbearer.client.credentials.client.secret", configkey.Password, null, plainText),
		fixed("sasl.oauthbearer.clock.skew.seconds", configkey.Int, "30", plainText),
		fixed("sasl.oauthbearer.expected.audience", configkey.List, "", plainText),
		fixed("sasl.oauthbearer.expected.issuer", configkey.String, null, plainText),
		fixed("sasl.oauthbearer.jwks.endpoint.refresh.ms", configkey.Long, "3600000", plainText),
		fixed("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", configkey.Long, "10000", plainText),
		fixed("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", configkey.Long, "100", plainText),
		fixed("sasl.oauthbearer.jwks.endpoint.url", configkey.String, null, plainText),
		fixed("sasl.oauthbearer.jwt.retriever.class", configkey.Class, "org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever", plainText),
		fixed("sasl.oauthbearer.jwt.validator.class", configkey.Class, "org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator", plainText),
		fixed("sasl.oauthbearer.scope", configkey.String, null, plainText),
		fixed("sasl.oauthbearer.scope.claim.name", configkey.String, "scope", plainText),
		fixed("sasl.oauthbearer.sub.claim.name", configkey.String, "sub", plainText),
		fixed("sasl.oauthbearer.token.endpoint.url", configkey.String, null, plainText),
		fixed("sasl.server.callback.handler.class", configkey.Class, null, plainText),
		fixed("sasl.server.max.receive.size", configkey.Int, "524288", plainText),
		fixed("security.inter.broker.protocol", configkey.String, "PLAINTEXT", "The security protocol brokers use among themselves."),
		fixed("security.providers", configkey.String, null, plainText),
	}
}

func tlsKeys() []Key {
	return []Key{
		fixed("ssl.allow.dn.changes", configkey.Boolean, "false", plainText),
		fixed("ssl.allow.san.changes", configkey.Boolean, "false", plainText),
		perBroker("ssl.cipher.suites", configkey.List, "", plainText),
		perBroker("ssl.client.auth", configkey.String, "none", plainText),
		perBroker("ssl.enabled.protocols", configkey.List, "TLSv1.2,TLSv1.3", plainText),
		perBroker("ssl.endpoint.identification.algorithm", configkey.String, "https", plainText),
		perBroker("ssl.engine.factory.class", configkey.Class, null, plainText),
		perListener("ssl.key.password", configkey.Password, null),
		perBroker("ssl.keymanager.algorithm", configkey.String, "SunX509", plainText),
		perListener("ssl.keystore.certificate.chain", configkey.Password, null),
		perListener("ssl.keystore.key", configkey.Password, null),
		perListener("ssl.keystore.location", configkey.String, null),
		perListener("ssl.keystore.password", configkey.Password, null),
		perListener("ssl.keystore.type", configkey.String, "JKS"),
		fixed("ssl.principal.mapping.rules", configkey.String, "DEFAULT", plainText),
		perBroker("ssl.protocol", configkey.String, "TLSv1.3", plainText),
		perBroker("ssl.provider", configkey.String, null, plainText),
		perBroker("ssl.secure.random.implementation", configkey.String, null, plainText),
		perBroker("ssl.trustmanager.algorithm", configkey.String, "PKIX", plainText),
		perListener("ssl.truststore.certificates", configkey.Password, null),
		perListener("ssl.truststore.location", configkey.String, null),
		perListener("ssl.truststore.password", configkey.Password, null),
		perListener("ssl.truststore.type", configkey.String, "JKS"),
	}
}
