"use strict";
// Names come from other people's files: everything goes in as text or attribute, nothing as HTML.
const h = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const s = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick" || name === "onchange") element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

const byId = (id) => document.getElementById(id);
const distinct = (values) => [...new Set(values)];
const minus = (text) => text.replace("-", "−");

// Scores lie on [-1, 1] but for ranks, which need no decimals.
const digits = (number) => minus(Math.abs(number) >= 100 ? number.toFixed(0) : number.toFixed(3));
const interval = (score) => `${digits(score.low)} to ${digits(score.high)}`;
const count = (number) => number.toLocaleString("en");
const scoreName = (score) => (score.subset === "all" ? score.metric : `${score.metric} ${score.subset}`);
