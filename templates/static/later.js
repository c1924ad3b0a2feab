// Go on by itself after a while: to an address, or to this very page again.

import { pageData } from "./dom.js";

const { address, seconds } = pageData();
setTimeout(() => {
  if (address) window.location.assign(address);
  else window.location.reload();
}, seconds * 1000);
