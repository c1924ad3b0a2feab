// The demo people: read from a file, turned into claims as an eduTEAMS proxy releases them.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

/** Subject identifier: 64 hex digits and a scope, the same at every start. */
function subject(username, scope) {
  return `${createHash('sha256').update(`panosc-hub demo ${username}`).digest('hex')}@${scope}`;
}

/** Read the file again at every call, so that a removed membership shows at the next request. */
export function readPeople(path) {
  const { scope, namespace, authority, people } = JSON.parse(readFileSync(path, 'utf8'));
  return people.map((person) => ({
    ...person,
    sub: subject(person.username, scope),
    entitlements: [
      ...person.groups.map((group) => `${namespace}:group:${group}#${authority}`),
      ...(person.entitlements ?? []),
    ],
  }));
}

/** The person with this user name or e-mail address, or undefined. */
export function findPerson(path, login) {
  const wanted = login.trim().toLowerCase();
  return readPeople(path).find((p) => p.username === wanted || p.email.toLowerCase() === wanted);
}

/** What oidc-provider asks of an account. An unknown subject gives undefined: login required. */
export function account(path, sub) {
  const known = readPeople(path).some((p) => p.sub === sub);
  if (!known) return undefined;
  return {
    accountId: sub,
    async claims() {
      const person = readPeople(path).find((p) => p.sub === sub);
      if (!person) throw new Error('this person was removed from the file');
      const [given, ...family] = person.name.split(' ');
      return {
        sub,
        name: person.name,
        given_name: given,
        family_name: family.join(' '),
        email: person.email,
        email_verified: true,
        voperson_id: sub,
        eduperson_entitlement: person.entitlements,
        eduperson_assurance: [
          'https://refeds.org/assurance',
          'https://refeds.org/assurance/ID/unique',
          'https://refeds.org/assurance/IAP/medium',
        ],
        voperson_external_affiliation: person.affiliation,
      };
    },
  };
}
