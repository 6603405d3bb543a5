// Package cost estimates what a deployment costs in a month, from a Terraform state or plan and a table of list prices.
//
// The prices are data: prices.csv holds one row per price with its region, unit, date and the page that it was read
// from. [Estimate] walks the resources by type, multiplies what they are by what they cost, and adds what they are used
// for from [Usage], a table of assumptions that the caller may change and that is printed with the result. What has no
// price is listed with the reason and never guessed. Amounts are exact; only what is shown is rounded.
//
// A strategy's effect ([Strategy]) is computed by estimating the state again after changing what the strategy changes,
// so it can never save more than the state spends.
package cost
