// OpenID provider of the example facility. For demonstrations and tests on one machine only:
// it asks for no password, keeps everything in memory and makes new keys at every start.
//
//   PANOSC_IDP_CLIENT_SECRET=… node server.mjs --redirect-uri URL [--redirect-uri URL2]
//       [--port 0] [--issuer-host 127.0.0.1] [--people people.json]
//       [--post-logout-redirect-uri URL] [--backchannel-logout-uri URL]
//
// Prints {"issuer": "http://127.0.0.1:PORT"} on standard output when it listens; everything else
// goes to standard error. It ends when its standard input is closed, so that it never outlives
// the program that started it.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';

import Provider, { errors } from 'oidc-provider';

import { loginPage, logoutPage, page, escape } from './pages.mjs';
import { account, findPerson, readPeople } from './people.mjs';

const CLIENT_ID = 'panosc-hub';
const MAX_FORM_BYTES = 8192;

console.info = console.error; // standard output carries the one line with the issuer

function usageError(message) {
  process.stderr.write(`server.mjs: ${message}\n`);
  process.exit(2);
}

function readOptions() {
  let values;
  try {
    ({ values } = parseArgs({
      options: {
        port: { type: 'string', default: '0' },
        'issuer-host': { type: 'string', default: '127.0.0.1' },
        'redirect-uri': { type: 'string', multiple: true, default: [] },
        'post-logout-redirect-uri': { type: 'string', multiple: true, default: [] },
        'backchannel-logout-uri': { type: 'string' },
        people: {
          type: 'string', default: new URL('people.json', import.meta.url).pathname,
        },
      },
    }));
  } catch (error) {
    usageError(error.message);
  }
  if (!/^\d{1,5}$/.test(values.port)) usageError('--port must be a number (0 = any free port)');
  if (values['redirect-uri'].length === 0) usageError('--redirect-uri is required');
  const secret = process.env.PANOSC_IDP_CLIENT_SECRET;
  if (!secret) usageError('the environment variable PANOSC_IDP_CLIENT_SECRET is required');
  return { ...values, port: Number(values.port), secret };
}

function signingKey() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const kid = randomBytes(8).toString('hex');
  return { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256', kid };
}

function configuration(options) {
  return {
    clients: [{
      client_id: CLIENT_ID,
      client_name: 'PaNOSC hub',
      client_secret: options.secret,
      token_endpoint_auth_method: 'client_secret_basic',
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      redirect_uris: options['redirect-uri'],
      post_logout_redirect_uris: options['post-logout-redirect-uri'],
      ...(options['backchannel-logout-uri'] && {
        backchannel_logout_uri: options['backchannel-logout-uri'],
        backchannel_logout_session_required: true,
      }),
    }],
    jwks: { keys: [signingKey()] },
    cookies: { keys: [randomBytes(32).toString('base64url')] },
    clientAuthMethods: ['client_secret_basic'],
    responseTypes: ['code'],
    enabledJWA: { idTokenSigningAlgValues: ['RS256'] },
    pkce: { required: () => true }, // the library accepts the S256 method alone
    rotateRefreshToken: true,
    scopes: ['openid', 'offline_access'],
    // Claims that belong to a scope go to userinfo only, not into the id_token (the library's
    // default, stated because eduTEAMS does the same and relying parties depend on it).
    conformIdTokenClaims: true,
    claims: {
      openid: ['sub'],
      profile: ['name', 'given_name', 'family_name'],
      email: ['email', 'email_verified'],
      voperson_id: ['voperson_id'],
      eduperson_entitlement: ['eduperson_entitlement'],
      eduperson_assurance: ['eduperson_assurance'],
      voperson_external_affiliation: ['voperson_external_affiliation'],
    },
    features: {
      devInteractions: { enabled: false },
      revocation: { enabled: true },
      backchannelLogout: { enabled: true },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: (ctx, form) => { ctx.body = logoutPage(form); },
        postLogoutSuccessSource: (ctx) => {
          ctx.body = page('Logged out', '<p>You may close this page.</p>');
        },
      },
    },
    ttl: {
      AccessToken: 3600, AuthorizationCode: 60, IdToken: 3600, Interaction: 3600,
      RefreshToken: 14 * 86400, Session: 86400, Grant: 14 * 86400,
    },
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    findAccount: (_ctx, sub) => account(options.people, sub),
    renderError: (ctx, out) => {
      ctx.type = 'html';
      const lines = Object.entries(out)
        .map(([key, value]) => `<dt>${escape(key)}</dt><dd>${escape(value)}</dd>`);
      ctx.body = page('This request cannot be served', `<dl>${lines.join('')}</dl>`);
    },
    // Outgoing calls (back-channel logout) go to the one registered client on this machine; the
    // library's own dispatcher refuses loopback addresses.
    fetch: (url, { dispatcher, ...init }) => globalThis.fetch(url, init),
  };
}

function sendPage(res, status, html) {
  res.writeHead(status, {
    'content-type': 'text/html; charset=utf-8',
    'cache-control': 'no-store',
    // No form-action: browsers apply it to the redirects after the form too, which end at the hub.
    'content-security-policy':
      "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
  });
  res.end(html);
}

async function readForm(req) {
  let text = '';
  req.setEncoding('utf8');
  for await (const chunk of req) {
    text += chunk;
    if (text.length > MAX_FORM_BYTES) throw new errors.InvalidRequest('the form is too long');
  }
  return new URLSearchParams(text);
}

/** Everything that was asked for is granted: the demo has no consent page. */
async function grantAll(provider, details) {
  const { params, session, prompt } = details;
  const grant = details.grantId
    ? await provider.Grant.find(details.grantId)
    : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope((prompt.details.missingOIDCScope ?? [params.scope]).join(' '));
  grant.addOIDCClaims(prompt.details.missingOIDCClaims ?? []);
  return { consent: { grantId: await grant.save() } };
}

async function interact(provider, people, req, res) {
  const details = await provider.interactionDetails(req, res); // bound to the browser by a cookie
  if (details.prompt.name === 'consent') {
    const result = await grantAll(provider, details);
    await provider.interactionFinished(req, res, result, { mergeWithLastSubmission: true });
    return;
  }
  const action = `/interaction/${details.uid}`;
  if (req.method !== 'POST') {
    sendPage(res, 200, loginPage({ action, people: readPeople(people) }));
    return;
  }
  const form = await readForm(req);
  if (form.has('cancel')) {
    await provider.interactionFinished(req, res, {
      error: 'access_denied', error_description: 'The login was cancelled.',
    });
    return;
  }
  const username = form.get('person') ?? form.get('username') ?? '';
  const person = findPerson(people, username);
  if (!person) {
    const error = `Nobody here is called “${username}”. Choose one of the people below.`;
    sendPage(res, 422, loginPage({ action, people: readPeople(people), error, username }));
    return;
  }
  await provider.interactionFinished(req, res, { login: { accountId: person.sub } });
}

const options = readOptions();
readPeople(options.people); // a broken file is reported now, not at the first login

const server = createServer();
server.on('error', (error) => usageError(error.message));
server.listen(options.port, options['issuer-host'], () => {
  const issuer = `http://${options['issuer-host']}:${server.address().port}`;
  const provider = new Provider(issuer, configuration(options));
  provider.on('server_error', (_ctx, error) => console.error(error));
  provider.on('backchannel.error', (_ctx, error) => console.error(error));
  const standard = provider.callback();
  server.on('request', (req, res) => {
    if (!/^\/interaction\/[\w-]+$/.test(req.url)) {
      standard(req, res);
      return;
    }
    interact(provider, options.people, req, res).catch((error) => {
      const known = error instanceof errors.OIDCProviderError;
      if (!known) console.error(error);
      const text = known ? (error.error_description ?? error.message) : 'Something went wrong.';
      const html = page('This login cannot go on',
        `<p role="alert">${escape(text)}</p><p>Go back to the hub and log in again.</p>`);
      sendPage(res, known ? 400 : 500, html);
    });
  });
  process.stdout.write(`${JSON.stringify({ issuer })}\n`);
});

process.stdin.on('end', () => process.exit(0));
process.stdin.on('error', () => process.exit(0));
process.stdin.resume();
process.on('SIGTERM', () => process.exit(0));
process.on('SIGINT', () => process.exit(0));
