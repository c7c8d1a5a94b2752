// One page, two places: inside a host's conversation, or in a browser tab of its own.
import { start as startApp } from "./views/app";
import { start as startLocal } from "./views/local";

const root = document.getElementById("page");
// A framed page never calls the loopback server: whoever frames it is not the person.
if (root) (window.parent === window ? startLocal : startApp)(root);
