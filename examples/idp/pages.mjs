// The provider's few HTML pages: plain, without scripts, usable by keyboard and screen reader.

const STYLE = `
  :root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
  body { max-width: 34rem; margin: 2rem auto; padding: 0 1rem; }
  label { display: block; font-weight: 600; }
  input, button { font: inherit; padding: .5rem .75rem; border-radius: .375rem;
    border: 1px solid GrayText; }
  button { cursor: pointer; }
  ul { list-style: none; padding: 0; }
  li { margin: .5rem 0; }
  li button { width: 100%; text-align: left; }
  .row { display: flex; gap: .5rem; } .row input { flex: 1; min-width: 0; }
  .note { border-left: .25rem solid #b45309; padding-left: .75rem; }
  .error { border-left: .25rem solid #b91c1c; padding-left: .75rem; font-weight: 600; }
  small { display: block; }
  :focus-visible { outline: 3px solid #2563eb; outline-offset: 2px; }
`;

const ENTITIES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

export function escape(text) {
  return String(text).replace(/[&<>"']/g, (c) => ENTITIES[c]);
}

export function page(title, body) {
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(title)} · demo identity provider</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>${escape(title)}</h1>
${body}
</main>
</body>
</html>
`;
}

export function loginPage({ action, people, error = '', username = '' }) {
  const problem = error
    ? `<p class="error" role="alert" id="problem">${escape(error)}</p>` : '';
  const describedBy = error ? ' aria-describedby="problem" aria-invalid="true"' : '';
  const choices = people.map((p) => `<li><button type="submit" name="person"
    value="${escape(p.username)}">${escape(p.name)} (${escape(p.username)})
    <small>${escape(p.note)}</small></button></li>`).join('\n');
  return page('Log in', `
<p class="note">This is a demo: no password is asked, and nobody here is real.</p>
${problem}
<form method="post" action="${escape(action)}">
  <label for="username">E-mail or user name</label>
  <div class="row">
    <input id="username" name="username" type="text" autocomplete="username" autocapitalize="none"
      spellcheck="false" required value="${escape(username)}"${describedBy}>
    <button type="submit">Continue</button>
  </div>
</form>
<h2>Or choose a person</h2>
<form method="post" action="${escape(action)}">
<ul>
${choices}
</ul>
<button type="submit" name="cancel" value="yes">Cancel</button>
</form>`);
}

export function logoutPage(form) {
  return page('Log out', `
<p>Do you also want to log out of the demo identity provider?</p>
${form}
<p class="row">
<button type="submit" form="op.logoutForm" value="yes" name="logout">Log out</button>
<button type="submit" form="op.logoutForm">Stay logged in</button>
</p>`);
}
