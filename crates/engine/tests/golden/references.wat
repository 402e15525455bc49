(module
  (func $f (export "f"))
  (func (param funcref) (result i32) (ref.is_null (local.get 0)))
  (func (param funcref) (result (ref func)) (ref.as_non_null (local.get 0)))
  (func (result funcref) (ref.func $f)))

;; Expected:
;; function 0
;; function u0:0(i64 vmctx) tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly gv0+8
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64):
;; @0030                               return
;; }
;;
;;   pushq %rbp
;;   movq %rsp, %rbp
;; block0:
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
;;
;; function 1
;; function u0:1(i64 vmctx, i64) -> i32 tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly gv0+8
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i64):
;; @0035                               v3 = iconst.i64 0
;; @0035                               v4 = icmp eq v1, v3  ; v3 = 0
;; @0035                               v5 = uextend.i32 v4
;; @0036                               return v5
;; }
;;
;;   pushq %rbp
;;   movq %rsp, %rbp
;; block0:
;;   testq %rsi, %rsi
;;   sete %sil
;;   movzbl %sil, %eax
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
;;
;; function 2
;; function u0:2(i64 vmctx, i64) -> i64 tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly gv0+8
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i64):
;; @003b                               trapz v1, user11
;; @003c                               return v1
;; }
;;
;;   pushq %rbp
;;   movq %rsp, %rbp
;; block0:
;;   testq %rsi, %rsi
;;   jz #trap=user11
;;   movq %rsi, %rax
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
;;
;; function 3
;; function u0:3(i64 vmctx) -> i64 tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly gv0+8
;;     gv2 = load.i64 notrap aligned gv1
;;     sig0 = (i64 vmctx, i32) -> i64 tail
;;     fn0 = colocated u0:17 sig0
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64):
;; @003f                               v2 = load.i64 notrap aligned v0+48
;; @003f                               brif v2, block2, block3
;;
;;                                 block3 cold:
;; @003f                               v4 = iconst.i32 0
;; @003f                               v5 = call fn0(v0, v4)  ; v4 = 0
;; @003f                               jump block4(v5)
;;
;;                                 block2:
;; @003f                               v6 = iconst.i64 0
;; @003f                               v7 = iadd.i64 v2, v6  ; v6 = 0
;; @003f                               jump block4(v7)
;;
;;                                 block4(v3: i64):
;; @0041                               return v3
;; }
;;
;;   pushq %rbp
;;   movq %rsp, %rbp
;;   movq 8(%rdi), %r10
;;   movq (%r10), %r10
;;   addq $0x10, %r10
;;   cmpq %rsp, %r10
;;   jnbe #trap=stk_ovf
;; block0:
;;   movq 0x30(%rdi), %rax
;;   testq %rax, %rax
;;   jnz     label2; j label1
;; block2:
;;   jmp     label3
;; block3:
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
;; block1:
;;   uninit  %rsi
;;   xorl %esi, %esi
;;   call    User(userextname0)
;;   jmp     label3
